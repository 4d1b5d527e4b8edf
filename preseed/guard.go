package preseed

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"codeberg.org/stagex/sx/internal/slow"
)

// guard is the transport to one registry and to where it redirects. It is below
// everything that go-containerregistry adds, so nothing of that gets past it: it
// refuses plain HTTP, and gives up on a server that does not answer, or whose body
// stalls or drips.
type guard struct {
	base     http.RoundTripper
	opts     ClientOptions
	loopback bool // the registry is on this machine
	plain    bool // the registry may be spoken to without TLS
}

var _ http.RoundTripper = (*guard)(nil)

func (c *Client) newGuard(registry string) *guard {
	local := isLoopback(registry)
	return &guard{base: c.base, opts: c.opts, loopback: local, plain: local || hostIn(c.opts.PlainHTTP, registry)}
}

// allowed says whether a request may go out. A registry that is spoken to with TLS
// leads nobody to plain HTTP, neither to this machine nor to a host of the settings.
func (g *guard) allowed(req *http.Request) error {
	switch {
	case req.URL.Scheme == "https":
		return nil
	case req.URL.Scheme != "http":
		return &RedirectError{fmt.Sprintf("scheme %q is neither http nor https", req.URL.Scheme)}
	case g.plain && (g.loopback && isLoopback(req.URL.Host) || hostIn(g.opts.PlainHTTP, req.URL.Host)):
		return nil
	}
	return &PlainHTTPError{req.URL.Host}
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.allowed(req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	wait := newAnswerTimer(g.opts.Header, func() { cancel(&slow.Error{What: "no answer", For: g.opts.Header}) })
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", g.opts.UserAgent)
	if req.Body != nil {
		req.Body = &sentBody{req.Body, wait}
	}
	resp, err := g.base.RoundTrip(req)
	wait.stop()
	if err != nil {
		err = slow.Because(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = slow.NewBody(ctx, cancel, resp.Body, slow.Limits{Stall: g.opts.Stall, MinRate: g.opts.MinRate, Now: g.opts.Now})
	return g.limited(req, resp)
}

// limited makes an error of status 429 here, where the headers that say for how
// long are still at hand: the registry itself, its token server, or where it
// redirects to.
func (g *guard) limited(req *http.Request, resp *http.Response) (*http.Response, error) {
	quota, ok := quotaOf(resp.Header)
	if ok {
		g.opts.OnQuota(req.URL.Host, quota)
	}
	if resp.StatusCode != http.StatusTooManyRequests {
		return resp, nil
	}
	after, _ := retryAfter(resp.Header, g.opts.Now())
	resp.Body.Close()
	return nil, &LimitError{Host: req.URL.Host, After: after, Quota: quota}
}

// answerTimer runs while a registry has the word: what is sent to it begins the
// time anew, so that a large upload may take as long as it moves.
type answerTimer struct {
	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration
	stopped bool
}

func newAnswerTimer(limit time.Duration, f func()) *answerTimer {
	return &answerTimer{limit: limit, timer: time.AfterFunc(limit, f)}
}

func (t *answerTimer) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.timer.Reset(t.limit)
	}
}

func (t *answerTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
}

// sentBody is read as fast as the registry takes it.
type sentBody struct {
	io.ReadCloser
	wait *answerTimer
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.wait.again()
	return b.ReadCloser.Read(p)
}
