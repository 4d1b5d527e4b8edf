package preseed

import (
	"sync"
	"time"
)

// How an image was had, as Status.Done says it.
const (
	Present = "present" // it was there, whole
	Linked  = "linked"  // all its blobs were in out/ already
	Fetched = "preseeded"
	Kept    = "kept" // something else is there that was built here
)

// Status is told what Run does. Calls never overlap; they must be quick and must
// not call back into the package. Sizes are bytes.
type Status interface {
	// Begin comes first: images is how many Run was given.
	Begin(images int)
	// Start: done bytes of the size that an image lacks are here already. It may
	// come again for the same image, with a larger size.
	Start(output, registry string, done, size int64)
	// Advance comes at most ten times a second for an image.
	Advance(output string, done, size int64)
	// Done comes once for each image that is had; how is one of the constants.
	Done(output, how string)
	// Fail: a registry was given up for now; with registry "" the image was, for good.
	Fail(output, registry string, err error)
	// Warn is told what the user should know and what stops nothing.
	Warn(text string)
	// End comes last, also after an error.
	End()
}

type silent struct{}

var _ Status = silent{}

func (silent) Begin(int)                          {}
func (silent) Start(string, string, int64, int64) {}
func (silent) Advance(string, int64, int64)       {}
func (silent) Done(string, string)                {}
func (silent) Fail(string, string, error)         {}
func (silent) Warn(string)                        {}
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

// transfer is how far one image is; its blobs come at once.
type transfer struct {
	status *serial
	output string
	now    func() time.Time

	mu         sync.Mutex
	done, size int64
	last       time.Time
}

// start adds a blob, of which done bytes are here.
func (t *transfer) start(registry string, done, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.size, t.last = t.done+done, t.size+size, t.now()
	t.status.tell(func(s Status) { s.Start(t.output, registry, t.done, t.size) })
}

// add notes n more bytes; fewer where some were thrown away.
func (t *transfer) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
	if now := t.now(); now.Sub(t.last) >= advanceEvery || t.done == t.size {
		t.last = now
		t.status.tell(func(s Status) { s.Advance(t.output, t.done, t.size) })
	}
}
