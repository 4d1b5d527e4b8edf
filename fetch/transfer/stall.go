package transfer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Limits.
const (
	DefaultConnect = 15 * time.Second
	DefaultHeader  = 30 * time.Second
	DefaultStall   = 30 * time.Second
	DefaultMinRate = 1 << 10
)

// Limits are the time limits of requests.
type Limits struct {
	Connect time.Duration // DNS and TCP, and again for TLS; default DefaultConnect
	Header  time.Duration // from the request, or what is sent of its body, to the answer's headers; default DefaultHeader
	Stall   time.Duration // the longest time without a byte of the body; default DefaultStall
	MinRate int64         // bytes per second, averaged over twice Stall; default DefaultMinRate, negative: none
	Now     func() time.Time
}

// WithDefaults sets the fields that have their zero value.
func (l Limits) WithDefaults() Limits {
	Default(&l.Connect, DefaultConnect)
	Default(&l.Header, DefaultHeader)
	Default(&l.Stall, DefaultStall)
	Default(&l.MinRate, DefaultMinRate)
	if l.Now == nil {
		l.Now = time.Now
	}
	return l
}

// Default sets a field that has its zero value.
func Default[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// because returns ctx's cause if ctx has ended, else err.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// pace measures a server's rate, in windows of twice Stall.
type pace struct {
	limits Limits
	waited time.Duration // for the server, in this window
	bytes  int64         // in this window
}

// add returns a *StallError at the end of a window in which too little was received.
func (p *pace) add(waited time.Duration, n int) error {
	p.waited += waited
	p.bytes += int64(n)
	window := 2 * p.limits.Stall
	if p.waited < window {
		return nil
	}
	rate := int64(float64(p.bytes) / p.waited.Seconds())
	p.waited, p.bytes = 0, 0
	if rate >= p.limits.MinRate {
		return nil
	}
	return &StallError{fmt.Sprintf("%d bytes per second on average", rate), window}
}

// body watches the body of an answer, and ends its request with a *StallError if it
// stalls. It watches only while a Read waits: time that the reader spends on a slow disk
// does not count.
type body struct {
	io.ReadCloser
	pace   pace
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	var done atomic.Bool // a timer that fires too late must not spoil the next Read
	limits := b.pace.limits
	timer := time.AfterFunc(limits.Stall, func() {
		if !done.Load() {
			b.cancel(&StallError{"no byte", limits.Stall})
		}
	})
	start := limits.Now()
	n, err := b.ReadCloser.Read(p)
	done.Store(true)
	timer.Stop()
	slow := b.pace.add(limits.Now().Sub(start), n)
	if err != nil && err != io.EOF {
		return n, because(b.ctx, err)
	}
	if err == nil {
		err = slow
	}
	return n, err
}

// Close closes the body and ends its request.
func (b *body) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// answerTimer runs while a server must answer. Each part of a request's body that the
// server reads restarts it.
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

// upload is the body of a request. The transport reads it as fast as the server accepts
// it; a server that is too slow is given up.
type upload struct {
	io.ReadCloser
	wait   *answerTimer
	cancel context.CancelCauseFunc
	pace   pace
	since  time.Time // when the last bytes were given; zero before the first
	given  int
}

func (u *upload) Read(p []byte) (int, error) {
	u.wait.again()
	if !u.since.IsZero() {
		if err := u.pace.add(u.pace.limits.Now().Sub(u.since), u.given); err != nil {
			u.cancel(err)
			return 0, err
		}
	}
	n, err := u.ReadCloser.Read(p)
	u.since, u.given = u.pace.limits.Now(), n
	return n, err
}
