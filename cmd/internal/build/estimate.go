package build

import (
	"container/heap"
	"time"
)

// meter bounds what the estimates cost: one a second, and a twentieth of the
// time. In between the last one goes on by the clock.
type meter struct {
	next time.Time
}

const (
	estimateEvery = time.Second
	estimateShare = 20
)

// tell gives an estimate where one is due.
func (s *schedule) tell() {
	if s.estimate == nil {
		return
	}
	began := s.now()
	if began.Before(s.meter.next) {
		return
	}
	left := s.remaining(began)
	ended := s.now()
	s.meter.next = ended.Add(max(estimateEvery, estimateShare*ended.Sub(began)))
	s.estimate(left)
}

// remaining plays the rest of the run as the schedule would have it if
// everything took what is expected and the sources were there, and returns how
// long that takes.
func (s *schedule) remaining(now time.Time) time.Duration {
	s.mu.Lock()
	p := play{needs: make([]int, len(s.units))}
	for i, u := range s.units {
		p.needs[i] = u.needs
		switch {
		case u.state == unitRunning:
			p.start(u, max(u.expected-now.Sub(u.began), 0))
		case u.state == unitReady, u.state == unitWaiting && u.needs == 0:
			heap.Push(&p.ready, u)
		}
	}
	s.mu.Unlock()
	return p.run(s.jobs)
}

// play is a run in which time does not pass.
type play struct {
	needs   []int // by unit
	ready   unitHeap
	running playHeap
}

func (p *play) start(u *unit, left time.Duration) {
	heap.Push(&p.running, playing{u, left})
}

func (p *play) run(jobs int) (now time.Duration) {
	for {
		for len(p.ready) > 0 && len(p.running) < jobs {
			u := heap.Pop(&p.ready).(*unit)
			p.start(u, now+u.expected)
		}
		if len(p.running) == 0 {
			return now
		}
		ended := heap.Pop(&p.running).(playing)
		now = ended.at
		for _, behind := range ended.unit.behind {
			for _, next := range behind {
				if p.needs[next.at]--; p.needs[next.at] == 0 && next.state == unitWaiting {
					heap.Push(&p.ready, next)
				}
			}
		}
	}
}

// playing is a unit that runs until at.
type playing struct {
	unit *unit
	at   time.Duration
}

type playHeap []playing

func (h playHeap) Len() int           { return len(h) }
func (h playHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h playHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *playHeap) Push(x any)        { *h = append(*h, x.(playing)) }
func (h *playHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
