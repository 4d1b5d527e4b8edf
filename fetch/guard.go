package fetch

import (
	"context"
	"net/http"
	"time"

	"codeberg.org/stagex/sx/internal/slow"
)

// guard gives up on a server that does not answer, or whose body stalls or
// drips. It is below the retries, so that each try is watched by itself, and
// so that draining a body cannot hang either.
type guard struct {
	base          http.RoundTripper
	header, stall time.Duration
	minRate       int64
	now           func() time.Time
}

var _ http.RoundTripper = (*guard)(nil)

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(g.header, func() { cancel(&slow.Error{What: "no response headers", For: g.header}) })
	resp, err := g.base.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		err = slow.Because(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = slow.NewBody(ctx, cancel, resp.Body, slow.Limits{Stall: g.stall, MinRate: g.minRate, Now: g.now})
	return resp, nil
}
