package driver

import (
	"sync"

	"codeberg.org/stagex/sx/cmd/internal/plan"
)

// exclusive let a build run while no other does. The members of a family are one.
type exclusive struct {
	mu      sync.Mutex
	changed sync.Cond // for mu, once somebody waited
	running map[*plan.Step]int
	alone   *plan.Step // who runs alone, or will once the others are done: nobody else begins
	holders int        // of alone
}

// acquire waits until s may run, and keeps others waiting where it must be alone. The
// caller gives the turn back.
func (t *exclusive) acquire(s *plan.Step, alone bool) (giveBack func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		t.running, t.changed.L = map[*plan.Step]int{}, &t.mu
	}
	who := s
	if len(s.Family) > 0 {
		who = s.Family[0]
	}
	for t.alone != nil && t.alone != who {
		t.changed.Wait()
	}
	if alone {
		t.alone = who
		t.holders++
		for len(t.running) > 1 || len(t.running) == 1 && t.running[who] == 0 {
			t.changed.Wait()
		}
	}
	t.running[who]++
	return func() { t.release(who, alone) }
}

func (t *exclusive) release(who *plan.Step, alone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[who]--; t.running[who] == 0 {
		delete(t.running, who)
	}
	if alone {
		if t.holders--; t.holders == 0 {
			t.alone = nil
		}
	}
	t.changed.Broadcast()
}
