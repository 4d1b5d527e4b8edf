// Package slow gives up on servers whose answers stall or drip. It is what the
// transports of fetch and preseed have in common: workers, which do not know each
// other.
package slow

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Error says that a server was given up for being too slow, and how.
type Error struct {
	What string // "no answer", "no byte", "5 bytes per second on average"
	For  time.Duration
}

func (e *Error) Error() string { return fmt.Sprintf("%s for %s", e.What, e.For) }

// Because is why ctx ended, if it did: that explains err.
func Because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Limits of a body. All must be set.
type Limits struct {
	Stall   time.Duration // how long a Read may wait for a byte
	MinRate int64         // bytes a second, over windows of twice Stall
	Now     func() time.Time
}

// Body watches the body of an answer, and ends its request by an *Error. It
// watches only while a Read waits: time that the reader spends on a slow disk is
// not the server's.
type Body struct {
	io.ReadCloser
	limits Limits
	ctx    context.Context
	cancel context.CancelCauseFunc

	waited time.Duration // in this window
	bytes  int64         // in this window
}

// NewBody watches body; ctx is that of the request, and cancel ends it. Closing
// the Body calls cancel too.
func NewBody(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, limits Limits) *Body {
	return &Body{ReadCloser: body, limits: limits, ctx: ctx, cancel: cancel}
}

func (b *Body) Read(p []byte) (int, error) {
	var done atomic.Bool // a timer that fires too late must not spoil the next Read
	timer := time.AfterFunc(b.limits.Stall, func() {
		if !done.Load() {
			b.cancel(&Error{"no byte", b.limits.Stall})
		}
	})
	start := b.limits.Now()
	n, err := b.ReadCloser.Read(p)
	done.Store(true)
	timer.Stop()
	b.waited += b.limits.Now().Sub(start)
	b.bytes += int64(n)
	if err != nil && err != io.EOF {
		return n, Because(b.ctx, err)
	}
	if err == nil {
		err = b.slow()
	}
	return n, err
}

// slow looks at one window after the other, each twice as long as a stall.
func (b *Body) slow() error {
	window := 2 * b.limits.Stall
	if b.waited < window {
		return nil
	}
	rate := int64(float64(b.bytes) / b.waited.Seconds())
	b.waited, b.bytes = 0, 0
	if rate >= b.limits.MinRate {
		return nil
	}
	return &Error{fmt.Sprintf("%d bytes per second on average", rate), window}
}

// Close closes the body and ends its request.
func (b *Body) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
