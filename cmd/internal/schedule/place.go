package schedule

import (
	"slices"
	"time"
)

// rules say where units may run, and how long their inputs take to get there.
type rules struct {
	may  func(u *Unit, on int) bool
	move func(u *Unit, on int) time.Duration
}

func (r rules) allows(u *Unit, on int) bool { return r.may == nil || r.may(u, on) }

func (r rules) moveTo(u *Unit, on int) time.Duration {
	if r.move == nil {
		return 0
	}
	return max(r.move(u, on), 0)
}

// placement chooses machines for ready units, the most urgent first, at one moment. It
// remembers which machines units wait for, so that those after them do not delay them.
type placement struct {
	slots  *Slots
	now    time.Duration
	rules  rules
	queues []queue // by machine; nil until a unit must wait
}

// queue is what a machine has to do.
type queue struct {
	jobs []time.Duration // when each of its jobs is free, the first first
	// A unit waits for memory from start to end, and leaves spare bytes beside it.
	reserved   bool
	start, end time.Duration
	spare      int64
}

// place returns the machine on which u should start now, or -1 if it should wait, for the
// machine on which it ends first or because none is up. Free reports whether a machine
// on which it may run has a free job.
//
// A unit ends first on a machine that is free soon and has its inputs, so that one may
// wait for a busy machine although another is free. Of machines that are as good, the
// one with the smallest part of its jobs in use is chosen.
func (p *placement) place(u *Unit) (on int, free bool) {
	s, best := p.slots, -1
	var bestStart, bestReady time.Duration
	large := p.largest(u)
	for i := range s.machines {
		m := &s.machines[i]
		if m.down || m.capacity(u) < large || !p.rules.allows(u, i) {
			continue
		}
		free = free || m.hasJob()
		start := p.start(u, i)
		ready := start + p.rules.moveTo(u, i)
		if best < 0 || ready < bestReady || ready == bestReady && s.better(i, start <= p.now, best, bestStart <= p.now) {
			best, bestStart, bestReady = i, start, ready
		}
	}
	if best < 0 {
		return -1, false
	}
	if bestStart <= p.now {
		return best, true
	}
	p.wait(u, best, bestReady+u.expected)
	return -1, free
}

// better reports whether machine a is to be chosen before b, on which the unit ends at
// the same time. AtOnce says that it would start at once.
func (s *Slots) better(a int, aAtOnce bool, b int, bAtOnce bool) bool {
	if aAtOnce != bAtOnce {
		return aAtOnce
	}
	x, y := &s.machines[a], &s.machines[b]
	return x.running*y.Jobs < y.running*x.Jobs
}

// capacity returns how much of what u needs the machine could give it.
func (m *machine) capacity(u *Unit) int64 {
	if m.Memory <= 0 {
		return u.memory
	}
	return min(u.memory, m.Memory)
}

// largest returns how much of its memory u can have on any machine: it runs on no smaller
// one.
func (p *placement) largest(u *Unit) (most int64) {
	for i := range p.slots.machines {
		if m := &p.slots.machines[i]; !m.down && m.capacity(u) > most && p.rules.allows(u, i) {
			most = m.capacity(u)
		}
	}
	return most
}

// start returns when u can start on a machine: now, or later than now.
func (p *placement) start(u *Unit, on int) time.Duration {
	s, m := p.slots, &p.slots.machines[on]
	fits := m.hasJob() && m.fits(u)
	if p.queues == nil {
		if fits {
			return p.now
		}
		p.look()
	}
	q := &p.queues[on]
	if q.reserved && p.now+u.expected > q.start && m.need(u) > q.spare {
		return max(q.end, q.jobs[0], p.now+1)
	}
	if fits && q.jobs[0] <= p.now {
		return p.now
	}
	start, _ := s.reserve(u, on, p.now)
	return max(start, q.jobs[0], p.now+1)
}

// look makes the queues.
func (p *placement) look() {
	p.queues = make([]queue, len(p.slots.machines))
	for i := range p.queues {
		p.queues[i].jobs = make([]time.Duration, 0, p.slots.machines[i].Jobs)
	}
	for _, r := range p.slots.running {
		// What should have ended is expected to take as long again as it is late.
		late := max(p.now-r.end, 0)
		p.queues[r.on].jobs = append(p.queues[r.on].jobs, max(r.end, p.now)+late)
	}
	for i := range p.queues {
		q := &p.queues[i]
		for len(q.jobs) < p.slots.machines[i].Jobs {
			q.jobs = append(q.jobs, p.now)
		}
		slices.Sort(q.jobs)
	}
}

// wait records that u waits for a machine, on which it is expected to end at end.
func (p *placement) wait(u *Unit, on int, end time.Duration) {
	q := &p.queues[on]
	if !p.slots.machines[on].hasJob() {
		q.jobs[0] = end
		slices.Sort(q.jobs)
	} else if !q.reserved {
		q.reserved, q.end = true, end
		q.start, q.spare = p.slots.reserve(u, on, p.now)
	}
}
