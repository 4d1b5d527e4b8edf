package schedule

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// meter bounds what the estimates cost: one a second, and a twentieth of the
// time. In between the last one goes on by the clock.
type meter struct {
	next time.Time
	late *time.Timer // pokes the schedule at next, for a change that came too early
}

const (
	estimateEvery = time.Second
	estimateShare = 20
)

// reportEstimate gives an estimate, now or when one is due. Only Run calls it.
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
	if left > 0 { // else what runs is over but for its last word
		s.Estimate(left)
	}
}

func (m *meter) stop() {
	if m.late != nil {
		m.late.Stop()
		m.late = nil
	}
}

// remaining plays the rest of the run as the schedule would have it if
// everything took what is expected and the sources were there, and returns how
// long that takes.
func (s *Schedule) remaining(now time.Duration) time.Duration {
	s.mu.Lock()
	p := simulation{Slots: Slots{jobs: s.jobs, memory: s.memory}, needs: make([]int, len(s.Units)), duration: s.durations()}
	for i, u := range s.Units {
		if p.needs[i] = u.needs; u.state == unitOver {
			p.needs[i] = math.MaxInt // never again
		}
		if u.state == unitReady || u.state == unitWaiting && u.needs == 0 {
			heap.Push(&p.ready, u)
		}
	}
	for _, r := range s.running {
		p.occupy(r.unit, max(r.end, now))
	}
	s.mu.Unlock()
	return p.run(now) - now
}

// simulation is a run in which no time passes.
type simulation struct {
	Slots
	needs    []int // by unit
	duration func(*Unit) time.Duration
}

// run returns when everything has ended.
func (p *simulation) run(now time.Duration) time.Duration {
	for {
		for u := p.next(now); u != nil; u = p.next(now) {
			p.occupy(u, now+p.duration(u))
		}
		if len(p.running) == 0 {
			return now
		}
		first := p.running[0]
		p.vacate(first.unit)
		now = first.end
		for _, next := range slices.Concat(first.unit.Dependents...) {
			if p.needs[next.index]--; p.needs[next.index] == 0 {
				heap.Push(&p.ready, next)
			}
		}
	}
}
