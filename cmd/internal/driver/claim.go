package driver

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
)

// claim is the lock of a step's output, or the error of locking it. A step that need
// not be built any more has neither.
type claim struct {
	lock *cache.OutputLock
	err  error
}

// claims are the locks of the outputs that a run builds, so that no other sx builds them
// meanwhile. It is safe for concurrent use.
type claims struct {
	store   *cache.Store
	needed  func(*plan.Step) bool // whether a step must still be built
	stop    func() bool           // whether nothing may start any more
	drain   <-chan struct{}       // closed when nothing may start any more
	waiting func(what string)     // tells the user

	mu   sync.Mutex // guards held
	held map[*plan.Step]claim
}

// take locks the outputs of all members of a unit. If another sx holds one of the locks
// it takes none, so that two runs never wait for each other, and returns a wait for
// [schedule.Schedule].Claim.
func (c *claims) take(steps []*plan.Step) (wait func(context.Context)) {
	taken := map[*plan.Step]claim{}
	for _, s := range steps {
		lock, err := c.store.TryLock(s.Output.Ref.String())
		var held *cache.LockedError
		if errors.As(err, &held) {
			if !c.needed(s) {
				continue
			}
			for _, c := range taken {
				c.release()
			}
			c.waiting(held.Error())
			return func(ctx context.Context) { c.await(ctx, held.Output) }
		}
		taken[s] = claim{lock, err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.held, taken)
	return nil
}

// timeLock adds how long wait takes to what the steps waited for. The schedule, which
// does not know why a unit waits, counts it as a download.
func timeLock(steps []*plan.Step, now func() time.Time, wait func(context.Context)) func(context.Context) {
	if wait == nil {
		return nil
	}
	return func(ctx context.Context) {
		began := now()
		wait(ctx)
		took := now().Sub(began)
		for _, s := range steps {
			s.Waited.Lock += took
		}
	}
}

func (c claim) release() {
	if c.lock != nil {
		c.lock.Unlock()
	}
}

// heldPoll is the pause between two tries of a lock that another sx holds. A build
// takes seconds to hours.
const heldPoll = 50 * time.Millisecond

// await returns when no other sx holds the lock of an output, or when nothing may
// start any more.
func (c *claims) await(ctx context.Context, output string) {
	for ctx.Err() == nil && !c.stop() {
		lock, err := c.store.TryLock(output)
		var held *cache.LockedError
		if !errors.As(err, &held) {
			if err == nil {
				lock.Unlock()
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-c.drain:
		case <-time.After(heldPoll):
		}
	}
}

// of returns what take did for s, and forgets it; release unlocks it.
func (c *claims) of(s *plan.Step) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.held[s]
	delete(c.held, s)
	return taken.release, taken.err
}
