package schedule

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/graph"
)

// Schedule runs every step of a plan that is not up to date, each after those
// it depends on, as many units at once as slots allow, the one with the longest
// path behind it first. It stops starting units when stop reports true, and
// returns when what runs has ended.
type Schedule struct {
	Slots
	Stop func() bool
	// Do is called on several goroutines, with the steps of one unit. It tells
	// of each member that ended, and whether it is up to date now: when it is
	// not, all that depend on it fail too. Those are passed to skip with the
	// step that is to blame.
	Do func(ctx context.Context, steps []*plan.Step, ended func(s *plan.Step, ok bool))
	// Claim comes before run, and takes what another process might hold. Where
	// one does, or sources are lacking, wait returns once it is worth another
	// try, or nothing starts any more; meanwhile the unit takes no job. nil:
	// everything is at hand.
	Claim func(u *Unit) (wait func(ctx context.Context))
	Skip  func(s *plan.Step, cause graph.Ref)
	// Estimate is told how long the rest should take; nil: nobody is.
	Estimate func(left time.Duration)
	// UntimedEstimate is how long what was never built should take, after what this run has
	// built; 0, or nil: as expected before.
	UntimedEstimate func() time.Duration
	Now             func() time.Time

	mu         sync.Mutex // of slots and all below
	began      time.Time
	Units      []*Unit
	failsEarly []*Unit
	active     int           // units that run, doomed ones too
	unfinished int           // units that are not over
	wake       chan struct{} // holds one: something changed
	meter      meter
}

// Run blocks until every step has run, was skipped, or stop or ctx kept it from
// starting.
func (s *Schedule) Run(ctx context.Context) {
	s.began = s.Now()
	defer context.AfterFunc(ctx, s.Wake)()
	defer s.meter.stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for s.advance(ctx, &wg) {
		s.reportEstimate()
		<-s.wake
	}
}

// Wake makes Run look again at what may start, and at stop.
func (s *Schedule) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Prepare comes before Run. Units for which lacks holds wait until they are told
// that their sources arrived, or are doomed.
func (s *Schedule) Prepare(steps []*plan.Step, lacks func(*Unit) bool) {
	s.wake = make(chan struct{}, 1)
	s.Units = units(steps)
	s.unfinished = len(s.Units)
	for _, u := range s.Units {
		u.Blocked = lacks != nil && lacks(u)
		s.enqueue(u)
	}
}

// enqueue lets u start when it waits for nothing.
func (s *Schedule) enqueue(u *Unit) {
	if u.needs == 0 && !u.Blocked && u.state == unitWaiting {
		u.state = unitReady
		heap.Push(&s.ready, u)
	}
}

// Unblock says that what u lacked is there.
func (s *Schedule) Unblock(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Blocked = false
	s.enqueue(u)
	s.Wake()
}

// FailEarly says that u will fail whatever it depends on, without taking time: it
// runs at once, so that it is known early.
func (s *Schedule) FailEarly(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.state == unitWaiting {
		u.state, u.failsEarly = unitReady, true
		s.failsEarly = append(s.failsEarly, u)
		s.Wake()
	}
}

// advance starts what can, and reports whether there is something to wait for.
func (s *Schedule) advance(ctx context.Context, wg *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := s.Stop() || ctx.Err() != nil
	for !stopped {
		u := s.nextUnit()
		if u == nil {
			break
		}
		u.state = unitRunning
		s.active++
		wg.Go(func() { s.start(ctx, u) })
		stopped = s.Stop()
	}
	return s.active > 0 || s.unfinished > 0 && !stopped
}

func (s *Schedule) start(ctx context.Context, u *Unit) {
	if s.Claim != nil && !u.failsEarly {
		if wait := s.Claim(u); wait != nil {
			s.park(u)
			wait(ctx)
			s.Unblock(u)
			return
		}
	}
	s.Do(ctx, u.Steps, func(st *plan.Step, ok bool) { s.memberEnded(ctx, u, st, ok) })
	s.finish(u)
}

// park gives back what u took, until it arrives.
func (s *Schedule) park(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state, u.Blocked = unitWaiting, true
	s.vacate(u)
	s.active--
	s.Wake()
}

// nextUnit is what starts now, nil when nothing does.
func (s *Schedule) nextUnit() *Unit {
	if n := len(s.failsEarly); n > 0 {
		u := s.failsEarly[n-1]
		s.failsEarly = s.failsEarly[:n-1]
		return u
	}
	now := s.Now().Sub(s.began)
	u := s.next(now)
	if u != nil {
		s.occupy(u, now+s.durations()(u))
	}
	return u
}

// durations tells how long a unit should take, by what is known at this moment.
func (s *Schedule) durations() func(*Unit) time.Duration {
	var guess time.Duration
	if s.UntimedEstimate != nil {
		guess = s.UntimedEstimate()
	}
	return func(u *Unit) time.Duration {
		if u.untimed && guess > 0 {
			return guess
		}
		return u.expected
	}
}

// memberEnded takes in that a member of u did.
func (s *Schedule) memberEnded(ctx context.Context, u *Unit, st *plan.Step, ok bool) {
	if !ok && ctx.Err() != nil {
		return // nobody is to blame for being cancelled
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.Wake()
	behind := u.Dependents[slices.Index(u.Steps, st)]
	if !ok {
		s.skipDependents(behind, st.Output.Ref)
		return
	}
	for _, next := range behind {
		next.needs--
		s.enqueue(next)
	}
}

// finish gives back what u took.
func (s *Schedule) finish(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state = unitOver
	if !u.failsEarly {
		s.vacate(u)
	}
	s.active--
	s.unfinished--
	s.Wake()
}

// skipDependents skips units, and all that waits for them.
func (s *Schedule) skipDependents(behind []*Unit, cause graph.Ref) {
	for _, u := range behind {
		if u.state != unitWaiting {
			continue
		}
		u.state = unitOver
		s.unfinished--
		for i, st := range u.Steps {
			s.Skip(st, cause)
			s.skipDependents(u.Dependents[i], cause)
		}
	}
}
