package schedule

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// meter limits estimates to one a second and to a hundredth of the time. Between two
// estimates the display counts down by the clock.
type meter struct {
	next time.Time
	late *time.Timer // wakes the schedule at next, after a change that came too early
}

const (
	estimateEvery = time.Second
	estimateShare = 100
)

// reportEstimate calls Estimate, now or as soon as the meter allows. Only Run calls it.
func (s *Schedule) reportEstimate() {
	if s.Estimate == nil {
		return
	}
	began := s.Now()
	if wait := s.meter.next.Sub(began); wait > 0 {
		if s.meter.late == nil {
			s.meter.late = time.AfterFunc(wait, s.Wake)
		}
		return
	}
	s.meter.stop()
	left := s.remaining(began.Sub(s.began))
	ended := s.Now()
	s.meter.next = ended.Add(max(estimateEvery, estimateShare*ended.Sub(began)))
	if left > 0 { // else the last unit is about to end
		s.Estimate(left)
	}
}

func (m *meter) stop() {
	if m.late != nil {
		m.late.Stop()
		m.late = nil
	}
}

// remaining simulates the rest of the run, as if each unit took its expected time, all
// sources were present and inputs were on each machine, and returns how long it takes.
func (s *Schedule) remaining(now time.Duration) time.Duration {
	s.mu.Lock()
	sim := simulation{Slots: s.empty(), rules: rules{may: s.May}, needs: make([]int, len(s.Units)), duration: s.durations()}
	for i, u := range s.Units {
		if sim.needs[i] = u.needs; u.state == unitOver {
			sim.needs[i] = math.MaxInt // never again
		}
		if u.state == unitReady || u.state == unitWaiting && u.needs == 0 {
			heap.Push(&sim.ready, u)
		}
	}
	for _, r := range s.running {
		sim.occupy(r.unit, r.on, max(r.end, now))
	}
	s.mu.Unlock()
	return sim.run(now) - now
}

// simulation is a run without waiting: it computes when each unit ends.
type simulation struct {
	Slots
	rules    rules
	needs    []int // by unit
	duration func(*Unit) time.Duration
}

// run returns the time at which the last unit ends.
func (sim *simulation) run(now time.Duration) time.Duration {
	for {
		for u, on := sim.next(now, sim.rules); u != nil; u, on = sim.next(now, sim.rules) {
			sim.occupy(u, on, now+sim.duration(u))
		}
		if len(sim.running) == 0 {
			return now
		}
		first := sim.running[0]
		sim.vacate(first.unit)
		now = first.end
		for _, next := range slices.Concat(first.unit.Dependents...) {
			if sim.needs[next.index]--; sim.needs[next.index] == 0 {
				heap.Push(&sim.ready, next)
			}
		}
	}
}
