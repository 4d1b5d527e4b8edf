package transfer

import (
	"sync"
	"time"
)

// Status is told what a run does with its items. Calls never overlap; they must be
// quick and must not call back. Sizes are bytes, -1 if unknown.
type Status[T any] interface {
	// Begin comes first: n is how many items there are.
	Begin(n int)
	// Start: a place (without credentials) sends; done bytes of size are here
	// already. It may come again for the same item: from a next place, from a lower
	// offset, or with a larger size.
	Start(item T, place string, done, size int64)
	// Advance: done of size bytes are here. At most ten a second for an item, and
	// one when a transfer ends.
	Advance(item T, done, size int64)
	// Done comes once for each item that is here; how is a constant of the package
	// that runs.
	Done(item T, how string)
	// Fail: a place was given up for now; with place "" the item was, for good. A place
	// that fails for the same cause in further rounds is told of once.
	Fail(item T, place string, err error)
	// Warn: something that the user should know and that does not stop the run.
	Warn(text string)
	// End comes last, also after an error.
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

// NewSerial takes nil for a Silent.
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

// Progress tells a Status how far one item is. Several transfers may be on their way
// for it at once.
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

// Start tells that the item's transfer begins, or begins anew.
func (p *Progress[T]) Start(place string, done, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(place, done, size)
}

// StartAnother tells that one more transfer for the item begins.
func (p *Progress[T]) StartAnother(place string, done, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(place, p.done+done, p.size+size)
}

func (p *Progress[T]) start(place string, done, size int64) {
	p.started, p.done, p.size, p.told, p.last = true, done, size, done, p.Now()
	p.Status.Tell(func(s Status[T]) { s.Start(p.Item, place, done, size) })
}

// Add counts n more bytes since Start; n is negative if some were thrown away.
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

// Finish tells how far the item is, unless that was told.
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
