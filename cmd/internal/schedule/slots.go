package schedule

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// Slots decides which unit starts next, by the units that run and those that are ready.
// It reads no clock: times count from the start of the run.
type Slots struct {
	jobs    int   // units at once
	memory  int64 // bytes that the running units may need together; 0 means no limit
	ready   unitHeap
	running runHeap
	used    int64 // bytes that the running units need
}

// slot is a running unit, and when it should end.
type slot struct {
	unit *Unit
	end  time.Duration
}

// unknownPeak is what a unit counts as if its need is unknown, or its share of the
// budget if that is less.
const unknownPeak = 1 << 30

// need returns the bytes that u counts as: at most the budget, so that a unit larger
// than the budget runs by itself, and at least 1, so that no other runs beside it.
func (s *Slots) need(u *Unit) int64 {
	if s.memory <= 0 {
		return 0
	}
	need := u.memory
	if need <= 0 {
		need = min(unknownPeak, s.memory/int64(s.jobs))
	}
	return min(max(need, 1), s.memory)
}

func (s *Slots) fits(u *Unit) bool { return s.need(u) <= s.memory-s.used }

// next removes the unit to start now from the ready ones, and returns nil if none
// should start. If the first does not fit, others may go before it, unless they would
// delay it: they must end before it could start, or fit beside it.
func (s *Slots) next(now time.Duration) *Unit {
	if len(s.ready) == 0 || len(s.running) >= s.jobs {
		return nil
	}
	first := heap.Pop(&s.ready).(*Unit)
	if s.fits(first) {
		return first
	}
	passed := []*Unit{first}
	defer func() {
		for _, u := range passed {
			heap.Push(&s.ready, u)
		}
	}()
	start, spare := s.reserve(first, now)
	for len(s.ready) > 0 && len(passed) < lookahead {
		u := heap.Pop(&s.ready).(*Unit)
		if s.fits(u) && (now+u.expected <= start || s.need(u) <= spare) {
			return u
		}
		passed = append(passed, u)
	}
	return nil
}

// lookahead bounds how many units next considers.
const lookahead = 64

// reserve returns when enough units will have ended for u to start, and how much memory
// will be free beside it then.
func (s *Slots) reserve(u *Unit, now time.Duration) (start time.Duration, spare int64) {
	free := s.memory - s.used
	byEnd := slices.Clone(s.running)
	slices.SortFunc(byEnd, func(a, b slot) int { return cmp.Compare(a.end, b.end) })
	start = now
	for _, r := range byEnd {
		if free >= s.need(u) {
			break
		}
		free += s.need(r.unit)
		start = max(start, r.end)
	}
	return start, free - s.need(u)
}

// occupy records that u runs until end.
func (s *Slots) occupy(u *Unit, end time.Duration) {
	s.used += s.need(u)
	heap.Push(&s.running, slot{u, end})
}

// vacate records that u does not run any more.
func (s *Slots) vacate(u *Unit) {
	i := slices.IndexFunc(s.running, func(r slot) bool { return r.unit == u })
	heap.Remove(&s.running, i)
	s.used -= s.need(u)
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
