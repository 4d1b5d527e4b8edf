package schedule

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Slots decides which unit starts next and on which machine, by the units that run and
// those that are ready. It reads no clock: times count from the start of the run.
type Slots struct {
	machines []machine
	ready    unitHeap
	running  runHeap
}

// machine is a machine and what runs on it.
type machine struct {
	Machine
	down    bool  // nothing starts on it
	running int   // units
	used    int64 // bytes that its units need
}

func (m *machine) hasJob() bool { return !m.down && m.running < m.Jobs }

// slot is a running unit, its machine, and when it should end.
type slot struct {
	unit *Unit
	on   int
	end  time.Duration
}

// unknownPeak is what a unit counts as if its need is unknown, or its share of the
// machine's memory if that is less.
const unknownPeak = 1 << 30

// need returns the bytes that u counts as: at most the memory of the machine, so that a
// unit larger than that runs by itself, and at least 1, so that no other runs beside it.
func (m *machine) need(u *Unit) int64 {
	if m.Memory <= 0 {
		return 0
	}
	need := u.memory
	if need <= 0 {
		need = min(unknownPeak, m.Memory/int64(m.Jobs))
	}
	return min(max(need, 1), m.Memory)
}

func (m *machine) fits(u *Unit) bool { return m.need(u) <= m.Memory-m.used }

// empty returns the same machines, on which nothing runs.
func (s *Slots) empty() Slots {
	machines := slices.Clone(s.machines)
	for i := range machines {
		machines[i].running, machines[i].used = 0, 0
	}
	return Slots{machines: machines}
}

// next removes the unit to start now from the ready ones, and returns its machine. It
// returns nil if none should start. If the first must wait, others may go before it,
// unless they would delay it.
func (s *Slots) next(now time.Duration, r rules) (*Unit, int) {
	var passed []*Unit
	defer func() {
		for _, u := range passed {
			heap.Push(&s.ready, u)
		}
	}()
	p := placement{slots: s, now: now, rules: r}
	for looked := 0; len(s.ready) > 0 && looked < lookahead && s.hasJob(); {
		u := heap.Pop(&s.ready).(*Unit)
		on, free := p.place(u)
		if on >= 0 {
			return u, on
		}
		if free {
			looked++
		}
		passed = append(passed, u)
	}
	return nil, 0
}

// lookahead bounds how many units that might start, were it not for others, next
// considers.
const lookahead = 64

// hasJob reports whether a machine has a free job.
func (s *Slots) hasJob() bool {
	for i := range s.machines {
		if s.machines[i].hasJob() {
			return true
		}
	}
	return false
}

// reserve returns when enough units of a machine will have ended for u to start, and how
// much memory will be free beside it then.
func (s *Slots) reserve(u *Unit, on int, now time.Duration) (start time.Duration, spare int64) {
	m := &s.machines[on]
	free := m.Memory - m.used
	start = now
	for _, r := range s.runningOn(on) {
		if free >= m.need(u) {
			break
		}
		free += m.need(r.unit)
		start = max(start, r.end)
	}
	return start, free - m.need(u)
}

// runningOn lists what runs on a machine, the next to end first.
func (s *Slots) runningOn(on int) []slot {
	var byEnd []slot
	for _, r := range s.running {
		if r.on == on {
			byEnd = append(byEnd, r)
		}
	}
	slices.SortFunc(byEnd, func(a, b slot) int { return cmp.Compare(a.end, b.end) })
	return byEnd
}

// occupy records that u runs on a machine until end.
func (s *Slots) occupy(u *Unit, on int, end time.Duration) {
	m := &s.machines[on]
	m.running++
	m.used += m.need(u)
	heap.Push(&s.running, slot{u, on, end})
}

// vacate records that u does not run any more.
func (s *Slots) vacate(u *Unit) {
	i := slices.IndexFunc(s.running, func(r slot) bool { return r.unit == u })
	m := &s.machines[s.running[i].on]
	m.running--
	m.used -= m.need(u)
	heap.Remove(&s.running, i)
}

// unitHeap holds the ready units, the lowest rank first.
type unitHeap []*Unit

func (h unitHeap) Len() int           { return len(h) }
func (h unitHeap) Less(i, j int) bool { return h[i].Rank < h[j].Rank }
func (h unitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *unitHeap) Push(x any)        { *h = append(*h, x.(*Unit)) }
func (h *unitHeap) Pop() any          { return pop((*[]*Unit)(h)) }

// runHeap holds the running units, the next to end first.
type runHeap []slot

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return h[i].end < h[j].end }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(slot)) }
func (h *runHeap) Pop() any          { return pop((*[]slot)(h)) }

func pop[T any](list *[]T) T {
	old := *list
	last := old[len(old)-1]
	*list = old[:len(old)-1]
	return last
}
