package driver

import (
	"sync"

	"codeberg.org/stagex/sx/cmd/internal/plan"
)

// exclusive lets a build run while no other runs. The members of a family count as one
// build.
type exclusive struct {
	mu      sync.Mutex
	changed sync.Cond // of running and alone; its lock is mu
	running map[*plan.Step]int
	alone   *plan.Step // runs alone, or will when the others have ended: no other starts
	holders int        // members of alone's family that hold it
}

// acquire waits until s may run. If s must run alone, no other build starts before the
// caller calls release.
func (e *exclusive) acquire(s *plan.Step, alone bool) (release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running == nil {
		e.running, e.changed.L = map[*plan.Step]int{}, &e.mu
	}
	first := s
	if len(s.Family) > 0 {
		first = s.Family[0]
	}
	for e.alone != nil && e.alone != first {
		e.changed.Wait()
	}
	if alone {
		e.alone = first
		e.holders++
		for len(e.running) > 1 || len(e.running) == 1 && e.running[first] == 0 {
			e.changed.Wait()
		}
	}
	e.running[first]++
	return func() { e.release(first, alone) }
}

// release ends what acquire began.
func (e *exclusive) release(first *plan.Step, alone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[first]--; e.running[first] == 0 {
		delete(e.running, first)
	}
	if alone {
		if e.holders--; e.holders == 0 {
			e.alone = nil
		}
	}
	e.changed.Broadcast()
}
