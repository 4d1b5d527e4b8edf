package fetch

import (
	"sync"
	"time"
)

// How a source was had, as Status.Done says it.
const (
	Present = "present" // lay there, verified
	Fetched = "fetched"
	Linked  = "linked" // from another path with the same hash
)

// Status is told what Run does. Calls never overlap; they must be quick and
// must not call back into the package. Sizes are bytes, -1 where unknown.
type Status interface {
	// Begin comes first: sources is how many Run was given.
	Begin(sources int)
	// Start: a mirror (without credentials) answers; done bytes are here
	// already of size. It may come again for the same source: a next mirror, or
	// the same one from a lower offset.
	Start(s Source, mirror string, done, size int64)
	// Advance: done of size bytes are here. At most ten a second for a source,
	// and one when a transfer ends.
	Advance(s Source, done, size int64)
	// Done comes once for each source that was had; how is one of the constants.
	Done(s Source, how string)
	// Fail: a mirror was given up for now; with mirror "" the source was, for
	// good (err is then a Failure or what is missing offline).
	Fail(s Source, mirror string, err error)
	// End comes last, also after an error.
	End()
}

type silent struct{}

var _ Status = silent{}

func (silent) Begin(int)                          {}
func (silent) Start(Source, string, int64, int64) {}
func (silent) Advance(Source, int64, int64)       {}
func (silent) Done(Source, string)                {}
func (silent) Fail(Source, string, error)         {}
func (silent) End()                               {}

const advanceEvery = 100 * time.Millisecond

// serial makes calls to a Status one after the other.
type serial struct {
	mu     sync.Mutex
	status Status
}

func (s *serial) tell(f func(Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.status)
}

// progress throttles the Advance calls of one transfer.
type progress struct {
	status *serial
	source Source
	size   int64
	now    func() time.Time
	last   time.Time
	told   int64
}

func (p *progress) start(mirror string, done, size int64) {
	p.size, p.told, p.last = size, done, p.now()
	p.status.tell(func(s Status) { s.Start(p.source, mirror, done, size) })
}

func (p *progress) advance(done int64) {
	if now := p.now(); now.Sub(p.last) >= advanceEvery {
		p.last = now
		p.finish(done)
	}
}

// finish tells how far the transfer came, unless that is known.
func (p *progress) finish(done int64) {
	if done != p.told {
		p.told = done
		p.status.tell(func(s Status) { s.Advance(p.source, done, p.size) })
	}
}
