package progress

import (
	"io"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

const (
	meterAfter = time.Second // of work before the line appears
	meterEvery = 200 * time.Millisecond
)

// Meter shows one line about work that takes longer than a second, on a terminal only:
// elsewhere, and in a mode other than tty and auto, it shows nothing.
type Meter struct {
	mu    sync.Mutex
	w     io.Writer
	opts  Options
	text  func() string
	shown bool

	stop  chan struct{}
	ended sync.WaitGroup
}

// NewMeter returns a Meter on w, usually os.Stderr. It asks text for the line each time
// that it writes it, and shows none for "". Close it.
func NewMeter(w io.Writer, opts Options, text func() string) *Meter {
	opts.defaults(w)
	m := &Meter{w: w, opts: opts, text: text, stop: make(chan struct{})}
	if mode, err := opts.resolve(); err == nil && mode == TTY {
		m.ended.Go(m.tick)
	}
	return m
}

func (m *Meter) tick() {
	next := time.NewTimer(meterAfter)
	defer next.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-next.C:
			m.paint()
			next.Reset(meterEvery)
		}
	}
}

func (m *Meter) paint() {
	said := text.Field(m.text())
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.opts.Foreground() {
		m.shown = false
		return
	}
	if said == "" {
		m.erase()
		return
	}
	width, _, _ := m.opts.Size()
	if width == 0 { // a serial line does not know
		width = 80
	}
	io.WriteString(m.w, "\r"+cut(said, width-1)+clearRest)
	m.shown = true
}

// erase takes the line away. The caller holds the mutex.
func (m *Meter) erase() {
	if m.shown {
		io.WriteString(m.w, "\r"+clearRest)
		m.shown = false
	}
}

// Above returns a writer for what stays, on w, which may be the same terminal. Each Write
// is whole lines.
func (m *Meter) Above(w io.Writer) io.Writer { return &above{m, w} }

type above struct {
	meter *Meter
	w     io.Writer
}

func (a *above) Write(p []byte) (int, error) {
	a.meter.mu.Lock()
	defer a.meter.mu.Unlock()
	a.meter.erase()
	return a.w.Write(p)
}

// Close takes the line away.
func (m *Meter) Close() {
	close(m.stop)
	m.ended.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
}
