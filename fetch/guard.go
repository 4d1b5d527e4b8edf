package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
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

// SlowError says that a mirror was given up for being too slow, and how.
type SlowError struct {
	What string // "no response headers", "no byte", "5 bytes per second on average"
	For  time.Duration
}

func (e *SlowError) Error() string { return fmt.Sprintf("%s for %s", e.What, e.For) }

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(g.header, func() { cancel(&SlowError{"no response headers", g.header}) })
	resp, err := g.base.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		err = because(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &guardedBody{ReadCloser: resp.Body, guard: g, ctx: ctx, cancel: cancel}
	return resp, nil
}

// because is why ctx ended, if it did: that explains err.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// guardedBody watches only while a Read waits: time that the reader spends on
// a slow disk is not the mirror's.
type guardedBody struct {
	io.ReadCloser
	guard  *guard
	ctx    context.Context
	cancel context.CancelCauseFunc

	waited time.Duration // in this window
	bytes  int64         // in this window
}

func (b *guardedBody) Read(p []byte) (int, error) {
	var done atomic.Bool // a timer that fires too late must not spoil the next Read
	timer := time.AfterFunc(b.guard.stall, func() {
		if !done.Load() {
			b.cancel(&SlowError{"no byte", b.guard.stall})
		}
	})
	start := b.guard.now()
	n, err := b.ReadCloser.Read(p)
	done.Store(true)
	timer.Stop()
	b.waited += b.guard.now().Sub(start)
	b.bytes += int64(n)
	if err != nil && err != io.EOF {
		return n, because(b.ctx, err)
	}
	if err == nil {
		err = b.slow()
	}
	return n, err
}

// slow looks at one window after the other, each twice as long as a stall.
func (b *guardedBody) slow() error {
	window := 2 * b.guard.stall
	if b.waited < window {
		return nil
	}
	rate := int64(float64(b.bytes) / b.waited.Seconds())
	b.waited, b.bytes = 0, 0
	if rate >= b.guard.minRate {
		return nil
	}
	return &SlowError{fmt.Sprintf("%d bytes per second on average", rate), window}
}

func (b *guardedBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
