package progress

import (
	"io"
	"sync"
)

// spoolBytes is how much may wait for a reader before what comes is lost.
const spoolBytes = 8 << 20

// spool writes to w in the background and in order: a terminal without a reader
// (Ctrl-S, an ssh connection that hangs) or a full pipe must stop no build.
type spool struct {
	w    io.Writer
	note func(lost int) string // said of writes that were lost, once there is room again

	mu    sync.Mutex
	work  sync.Cond // something waits, or closed
	waits []byte
	busy  bool
	lost  int
	ended bool
	done  chan struct{}
}

var _ io.Writer = (*spool)(nil)

// newSpool starts the goroutine that close ends.
func newSpool(w io.Writer) *spool {
	s := &spool{w: w, done: make(chan struct{})}
	s.work.L = &s.mu
	go s.run()
	return s
}

// Write never blocks and never fails.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waits)+len(p) > spoolBytes {
		s.lost++
		return len(p), nil
	}
	if s.lost > 0 {
		s.waits = append(s.waits, s.note(s.lost)...)
		s.lost = 0
	}
	s.waits = append(s.waits, p...)
	s.work.Signal()
	return len(p), nil
}

// idle reports that all was written.
func (s *spool) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.busy && len(s.waits) == 0
}

// close blocks until all is written. It may be called again.
func (s *spool) close() {
	s.mu.Lock()
	if s.lost > 0 {
		s.waits = append(s.waits, s.note(s.lost)...)
		s.lost = 0
	}
	s.ended = true
	s.work.Signal()
	s.mu.Unlock()
	<-s.done
}

func (s *spool) run() {
	defer close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.waits) == 0 && !s.ended {
			s.work.Wait()
		}
		if len(s.waits) == 0 {
			return
		}
		p := s.waits
		s.waits, s.busy = nil, true
		s.mu.Unlock()
		s.w.Write(p) // what cannot be written is lost: see the package documentation
		s.mu.Lock()
		s.busy = false
	}
}
