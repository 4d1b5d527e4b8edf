package transfer

import (
	"sync"
	"time"
)

// Status receives the progress of a run. Calls never overlap; they must be quick and must
// not call back. Sizes are in bytes, -1 if unknown.
type Status[T any] interface {
	// Begin is called first, with the number of items.
	Begin(n int)
	// Start means that a place (without credentials) begins to send; done bytes of size
	// are here already. It may be called again for the same item, with another place, a
	// lower offset or a larger size.
	Start(item T, place string, done, size int64)
	// Advance means that done of size bytes are here. It is called at most ten times a
	// second for an item, and once when a transfer ends.
	Advance(item T, done, size int64)
	// Done is called once for each item that is complete; how is a constant of the
	// package that runs.
	Done(item T, how string)
	// Fail means that a place was given up for now or, with place "", that the item
	// failed for good. It is called once for a place that fails for the same cause in
	// several rounds.
	Fail(item T, place string, err error)
	// Warn has a message for the user that does not stop the run.
	Warn(text string)
	// End is called last, also after an error.
	End()
}

// Silent is a Status that does nothing.
type Silent[T any] struct{}

// Begin does nothing, as all methods of Silent.
func (Silent[T]) Begin(int) {}

// Start does nothing.
func (Silent[T]) Start(T, string, int64, int64) {}

// Advance does nothing.
func (Silent[T]) Advance(T, int64, int64) {}

// Done does nothing.
func (Silent[T]) Done(T, string) {}

// Fail does nothing.
func (Silent[T]) Fail(T, string, error) {}

// Warn does nothing.
func (Silent[T]) Warn(string) {}

// End does nothing.
func (Silent[T]) End() {}

// Serial makes the calls to a Status one after the other.
type Serial[T any] struct {
	mu     sync.Mutex
	status Status[T]
}

// NewSerial returns a Serial for status; nil means a Silent.
func NewSerial[T any](status Status[T]) *Serial[T] {
	if status == nil {
		status = Silent[T]{}
	}
	return &Serial[T]{status: status}
}

// Tell calls f.
func (s *Serial[T]) Tell(f func(Status[T])) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.status)
}

const advanceEvery = 100 * time.Millisecond

// Progress reports the progress of one item to a Status. Several transfers for the item
// may run at once.
type Progress[T any] struct {
	Status *Serial[T]
	Item   T
	Now    func() time.Time

	mu         sync.Mutex
	started    bool
	done, size int64
	last       time.Time
	told       int64
}

// Start reports that the item's transfer begins, or begins again.
func (p *Progress[T]) Start(place string, done, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(place, done, size)
}

// StartAnother reports that one more transfer for the item begins.
func (p *Progress[T]) StartAnother(place string, done, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(place, p.done+done, p.size+size)
}

func (p *Progress[T]) start(place string, done, size int64) {
	p.started, p.done, p.size, p.told, p.last = true, done, size, done, p.Now()
	p.Status.Tell(func(s Status[T]) { s.Start(p.Item, place, done, size) })
}

// Add counts n more bytes since Start; n is negative if bytes were discarded.
func (p *Progress[T]) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return
	}
	p.done += n
	if now := p.Now(); now.Sub(p.last) >= advanceEvery {
		p.last = now
		p.tell()
	}
}

// Finish reports the item's present progress, unless it was reported already.
func (p *Progress[T]) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell()
}

func (p *Progress[T]) tell() {
	if p.done != p.told {
		p.told = p.done
		p.Status.Tell(func(s Status[T]) { s.Advance(p.Item, p.done, p.size) })
	}
}
