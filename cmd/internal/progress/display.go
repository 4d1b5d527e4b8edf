package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/events"
)

// Options of [New]. The zero value is ready.
type Options struct {
	Mode   Mode
	Getenv func(string) string // nil: os.Getenv
	Now    func() time.Time    // nil: time.Now
	// Size is the terminal's, asked for at each paint; ok is false where there
	// is none. nil: what the writer is.
	Size func() (width, height int, ok bool)
	// Foreground reports whether live lines may be painted: the shell has the
	// terminal while sx runs in the background. nil: what the writer says.
	Foreground func() bool
	// Resumed is sent SIGCONT; nil for none. The shell has written since the last
	// paint.
	Resumed <-chan os.Signal
	// Observers are called with every event, in order and one at a time, in each mode.
	// They must not block.
	Observers []func(events.Event)
}

// Display shows a run. All its methods, and those of Sources and Images, may be called
// concurrently; events after Close are not shown.
type Display struct {
	mu     sync.Mutex
	now    func() time.Time
	state  *state
	view   view
	spool  *spool
	closed bool
	// observers are Options.Observers.
	observers []func(events.Event)

	stop  chan struct{}
	ended sync.WaitGroup
}

var _ driver.Status = (*Display)(nil)

// view puts events into words. Calls are serialised.
type view interface {
	// show is told an event that the state has taken in.
	show(e events.Event)
	// tick comes every period; 0 is never.
	tick(now time.Time)
	period() time.Duration
	// close takes away what should not stay.
	close()
}

// New returns a Display that writes to w, usually os.Stderr. Close it.
func New(w io.Writer, opts Options) (*Display, error) {
	opts.defaults(w)
	mode, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	d := &Display{now: opts.Now, state: newState(), spool: newSpool(w), stop: make(chan struct{}), observers: opts.Observers}
	switch p := (printer{w: d.spool, colour: opts.colour()}); mode {
	case RawJSON:
		d.view = &rawJSON{d.spool}
	case Quiet:
		d.view = &quiet{p}
	case TTY:
		d.view = &tty{printer: p, state: d.state, size: opts.Size, foreground: opts.Foreground, idle: d.spool.idle}
	default:
		d.view = &plain{printer: p, state: d.state}
	}
	d.spool.note = func(n int) string { return noteOf(d.view, n, d.now()) }
	if period := d.view.period(); period > 0 {
		d.ended.Go(func() { d.ticks(period, opts.Resumed) })
	}
	return d, nil
}

// noteOf says that n writes were lost, as the view's reader understands it.
func noteOf(v view, n int, now time.Time) string {
	e := events.Event{Time: now.UTC(), Event: events.Lost, Events: &n}
	if _, ok := v.(*rawJSON); ok {
		return events.Line(e)
	}
	return words(e)[0].text + "\n"
}

func (o *Options) defaults(w io.Writer) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f, ok := w.(*os.File)
	if o.Size == nil {
		o.Size = func() (int, int, bool) {
			if !ok {
				return 0, 0, false
			}
			width, height, err := term.GetSize(int(f.Fd()))
			return width, height, err == nil
		}
	}
	if o.Foreground == nil {
		o.Foreground = func() bool {
			if !ok {
				return true
			}
			owner, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
			return err != nil || owner == unix.Getpgrp()
		}
	}
}

func (d *Display) ticks(period time.Duration, resumed <-chan os.Signal) {
	t := time.NewTicker(period)
	defer t.Stop()
	for last := time.Now(); ; last = time.Now() {
		select {
		case <-d.stop:
			return
		case <-t.C:
			if time.Since(last) > 3*period { // stopped? Its signal may come after the tick
				select {
				case <-resumed:
					d.resume()
				case <-time.After(period / 2):
				}
			}
			d.tick()
		case <-resumed:
			d.resume()
		}
	}
}

func (d *Display) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.view.(*tty); ok {
		v.forget()
	}
}

// tick does nothing after Close, which may have come between.
func (d *Display) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.view.tick(d.now())
	}
}

// Talks reports whether the reader wants sentences: the mode is neither rawjson, for
// programs, nor quiet.
func (d *Display) Talks() bool {
	switch d.view.(type) {
	case *rawJSON, *quiet:
		return false
	}
	return true
}

// Close clears the live lines, and returns when everything is written. It may
// be called again.
func (d *Display) Close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.stop)
		d.view.close()
	}
	d.mu.Unlock()
	d.ended.Wait()
	d.spool.close()
}

// tell lets f take something into the state, and shows what came of it.
func (d *Display) tell(f func(s *state, now time.Time) events.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	now := d.now()
	e := f(d.state, now)
	e.Time, e.Alone = now.UTC(), d.state.builds.total == 0
	d.view.show(e)
	d.observe(e)
}

func (d *Display) observe(e events.Event) {
	for _, o := range d.observers {
		o(e)
	}
}

// tellLate tells e, which comes after Close, to programs that read rawjson and to the
// observers.
func (d *Display) tellLate(e events.Event) {
	e.Time = d.now().UTC()
	if v, ok := d.view.(*rawJSON); ok {
		v.w = d.spool.w // the spool is closed, so that nothing waits in it
		v.show(e)
	}
	d.observe(e)
}
