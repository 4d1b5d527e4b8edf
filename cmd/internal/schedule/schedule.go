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

// Schedule runs each step of a plan that is not up to date, after the steps that it
// depends on, as many units at once as Slots allow, and the unit with the longest path
// of dependents first, each on the machine on which it should end first. A machine is
// named by its index in [Capacity].Machines, 0 if that is empty.
type Schedule struct {
	Slots
	// Stop reports whether no further unit may start.
	Stop func() bool
	// Do runs the steps of one unit on a machine; on is -1 for a unit of
	// [Schedule.FailEarly], and for one that may run on no machine. Several goroutines call it. It calls ended for each member
	// that ended, with whether the member is up to date now: if it is not, Skip is called
	// for all its dependents. It returns again if the machine was lost: the members that
	// have not ended become ready again, and a later Do gets only them.
	Do func(ctx context.Context, on int, steps []*plan.Step, ended func(s *plan.Step, ok bool)) (again bool)
	// May reports whether a unit may run on a machine; nil: every unit may run on every
	// one. It must not call the schedule, and neither must Move. After a change of what it
	// reports, SetDown is called.
	May func(u *Unit, on int) bool
	// Move returns how long the inputs of a unit take to get to a machine; nil: no time.
	Move func(u *Unit, on int) time.Duration
	// Claim is called before Do and locks what another process may hold. If it cannot,
	// or if sources are missing, it returns a wait, which returns when it is worth
	// another try or nothing may start any more; meanwhile the unit takes no job. A nil
	// Claim has nothing to lock.
	Claim func(u *Unit) (wait func(ctx context.Context))
	// Skip is called for each step that is not run because cause failed.
	Skip func(s *plan.Step, cause graph.Ref)
	// Estimate, if not nil, is called with how long the rest of the run should take.
	Estimate func(left time.Duration)
	// UntimedEstimate returns how long a step that was never timed should take, by what
	// this run has built; 0 (or a nil function) means Step.Expected.
	UntimedEstimate func() time.Duration
	Now             func() time.Time

	mu         sync.Mutex // guards Slots and all below
	began      time.Time
	Units      []*Unit
	failsEarly []*Unit
	active     int           // units that run, including those in failsEarly
	unfinished int           // units that have not ended
	recheck    bool          // whether each unit may run on some machine
	wake       chan struct{} // has room for one: something changed
	meter      meter
}

// Run returns when each step has run or was skipped. If Stop reports true or ctx ends, it
// starts nothing more, and returns when the running units have ended.
func (s *Schedule) Run(ctx context.Context) {
	s.start(s.Now())
	defer context.AfterFunc(ctx, s.Wake)()
	defer s.meter.stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for s.advance(ctx, &wg) {
		s.reportEstimate()
		<-s.wake
	}
}

// start begins the time of the run, from which on units wait.
func (s *Schedule) start(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = now
	for _, u := range s.Units {
		u.since = now
	}
}

// waited adds the time since u began to wait for something to what of tells, and lets
// the next wait begin.
func (s *Schedule) waited(u *Unit, of func(*plan.Waited) *time.Duration) {
	if u.since.IsZero() {
		return // the run has not begun
	}
	now := s.Now()
	for _, st := range u.Steps {
		*of(&st.Waited) += now.Sub(u.since)
	}
	u.since = now
}

func depends(w *plan.Waited) *time.Duration   { return &w.Depends }
func downloads(w *plan.Waited) *time.Duration { return &w.Downloads }
func job(w *plan.Waited) *time.Duration       { return &w.Job }

// Wake makes Run check again what may start, and Stop.
func (s *Schedule) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Prepare makes the units, before Run. Units for which blocked reports true wait for
// [Schedule.Unblock] or [Schedule.FailEarly]; a nil blocked blocks none.
func (s *Schedule) Prepare(steps []*plan.Step, blocked func(*Unit) bool) {
	s.wake = make(chan struct{}, 1)
	s.Units = units(steps)
	s.unfinished, s.recheck = len(s.Units), true
	for _, u := range s.Units {
		u.Blocked = blocked != nil && blocked(u)
		s.enqueue(u)
	}
}

// enqueue makes u ready if it waits for nothing.
func (s *Schedule) enqueue(u *Unit) {
	if u.needs == 0 && !u.Blocked && u.state == unitWaiting {
		u.state = unitReady
		heap.Push(&s.ready, u)
	}
}

// Unblock ends what blocked u.
func (s *Schedule) Unblock(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Blocked && u.needs == 0 {
		s.waited(u, downloads)
	}
	u.Blocked = false
	s.enqueue(u)
	s.Wake()
}

// FailEarly runs u at once, without a job and before its dependencies: it is known to
// fail, so that the user learns of it early.
func (s *Schedule) FailEarly(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.state == unitWaiting {
		u.state, u.failsEarly = unitReady, true
		s.failsEarly = append(s.failsEarly, u)
		s.Wake()
	}
}

// advance starts the units that can start, and reports whether Run must wait for any.
func (s *Schedule) advance(ctx context.Context, wg *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := s.Stop() || ctx.Err() != nil
	s.failHomeless()
	for !stopped {
		u, on := s.nextUnit()
		if u == nil {
			break
		}
		u.state = unitRunning
		s.active++
		wg.Go(func() { s.runUnit(ctx, u, on) })
		stopped = s.Stop()
	}
	return s.active > 0 || s.unfinished > 0 && !stopped
}

func (s *Schedule) runUnit(ctx context.Context, u *Unit, on int) {
	if s.Claim != nil && !u.failsEarly {
		if wait := s.Claim(u); wait != nil {
			s.park(u)
			wait(ctx)
			s.Unblock(u)
			return
		}
	}
	again := s.Do(ctx, on, u.left, func(st *plan.Step, ok bool) { s.memberEnded(ctx, u, st, ok) })
	s.finish(u, again)
}

// park returns the job of u, which waits for Unblock.
func (s *Schedule) park(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state, u.Blocked, u.since = unitWaiting, true, s.Now()
	s.vacate(u)
	s.active--
	s.Wake()
}

// nextUnit returns the unit to start now, nil if none should, and its machine.
func (s *Schedule) nextUnit() (u *Unit, on int) {
	if n := len(s.failsEarly); n > 0 {
		u := s.failsEarly[n-1]
		s.failsEarly = s.failsEarly[:n-1]
		return u, -1
	}
	now, r := s.Now().Sub(s.began), rules{may: s.May, move: s.Move}
	u, on = s.next(now, r)
	if u != nil {
		s.waited(u, job)
		s.occupy(u, on, now+r.moveTo(u, on)+s.durations()(u))
	}
	return u, on
}

// SetDown records that a machine is down, or up again. Nothing starts on a machine that
// is down; what runs there has its slots until Do returns.
func (s *Schedule) SetDown(on int, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machines[on].down, s.recheck = down, true
	s.Wake()
}

// failHomeless lets the units run early that may run on no machine, whether it is up or
// down, so that Do says why they fail.
func (s *Schedule) failHomeless() {
	if s.May == nil || !s.recheck {
		return
	}
	s.recheck = false
	r := rules{may: s.May}
	for _, u := range s.Units {
		if u.state != unitWaiting && u.state != unitReady || u.failsEarly {
			continue
		}
		allowed := false
		for on := 0; on < len(s.machines) && !allowed; on++ {
			allowed = r.allows(u, on)
		}
		if allowed {
			continue
		}
		if u.state == unitReady {
			heap.Remove(&s.ready, slices.Index(s.ready, u))
		}
		u.state, u.failsEarly = unitReady, true
		s.failsEarly = append(s.failsEarly, u)
	}
}

// durations returns a function that says how long a unit should take.
func (s *Schedule) durations() func(*Unit) time.Duration {
	var estimate time.Duration
	if s.UntimedEstimate != nil {
		estimate = s.UntimedEstimate()
	}
	return func(u *Unit) time.Duration {
		if u.untimed && estimate > 0 {
			return estimate
		}
		return u.expected
	}
}

// memberEnded records that a member of u has ended.
func (s *Schedule) memberEnded(ctx context.Context, u *Unit, st *plan.Step, ok bool) {
	if !ok && ctx.Err() != nil {
		return // it was cancelled, and did not fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.Wake()
	u.left = slices.DeleteFunc(slices.Clone(u.left), func(left *plan.Step) bool { return left == st })
	dependents := u.Dependents[slices.Index(u.Steps, st)]
	if !ok {
		s.skipDependents(dependents, st.Output.Ref)
		return
	}
	for _, next := range dependents {
		if next.needs--; next.needs == 0 {
			s.waited(next, depends)
		}
		s.enqueue(next)
	}
}

// finish returns the job of u. It records that u has ended, or that the rest of it must
// run again.
func (s *Schedule) finish(u *Unit, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.Wake()
	s.active--
	if !u.failsEarly {
		s.vacate(u)
	}
	if again && len(u.left) > 0 {
		u.state, u.failsEarly, u.since, s.recheck = unitWaiting, false, s.Now(), true
		s.enqueue(u)
		return
	}
	u.state = unitOver
	s.unfinished--
}

// skipDependents skips units, and all their dependents.
func (s *Schedule) skipDependents(units []*Unit, cause graph.Ref) {
	for _, u := range units {
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
