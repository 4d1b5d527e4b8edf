package driver

import (
	"context"
	"errors"
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

// claim locks the outputs of all members of a unit. If another sx holds one of the locks
// it takes none, so that two runs never wait for each other, and returns a wait for
// [schedule.Schedule].Claim.
func (r *run) claim(steps []*plan.Step) (wait func(context.Context)) {
	claims := map[*plan.Step]claim{}
	for _, s := range steps {
		lock, err := r.Store.TryLock(s.Output.Ref.String())
		var held *cache.LockedError
		if errors.As(err, &held) {
			if reason, err := r.stillNeeded(s); err == nil && reason == "" {
				continue
			}
			unlock(claims)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.opts.Status.Waiting(held.Error())
			return func(ctx context.Context) { r.awaitLock(ctx, held.Output) }
		}
		claims[s] = claim{lock, err}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for s, c := range claims {
		r.claims[s] = c
	}
	return nil
}

func unlock(claims map[*plan.Step]claim) {
	for _, c := range claims {
		if c.lock != nil {
			c.lock.Unlock()
		}
	}
}

// heldPoll is the pause between two tries of a lock that another sx holds. A build
// takes seconds to hours.
const heldPoll = 50 * time.Millisecond

// awaitLock returns when no other sx holds the lock of an output, or when nothing may
// start any more.
func (r *run) awaitLock(ctx context.Context, output string) {
	for ctx.Err() == nil && !r.stop() {
		lock, err := r.Store.TryLock(output)
		var held *cache.LockedError
		if !errors.As(err, &held) {
			if err == nil {
				lock.Unlock()
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-r.opts.Drain:
		case <-time.After(heldPoll):
		}
	}
}

// claimed returns the result of claim for s; release unlocks it.
func (r *run) claimed(s *plan.Step) (release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.claims[s]
	return func() { unlock(map[*plan.Step]claim{s: c}) }, c.err
}

// builtByOther reports whether another sx has built s since the plan was made, and as
// this run would (without the cache, if that was asked for). It compares the record's
// times only for equality: the clock may have been set.
func (r *run) builtByOther(s *plan.Step) (bool, error) {
	rec, err := r.Store.Record(s.Output.Ref.String())
	if err != nil || rec.Finished.Equal(s.LastFinished) || r.noCache(s) && !rec.NoCache {
		return false, nil
	}
	if r.from != nil {
		_, why := Reproduced(r.Look(), s.Output, s.Request.Platforms)
		return why == "", nil
	}
	reason, err := plan.Stale(r.Look(), s.Output, s.Request.Platforms, r.connected().probe)
	return err == nil && reason == nil, err
}
