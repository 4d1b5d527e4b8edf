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
	// Guess is how long what was never built should take, after what this run has
	// built; 0, or nil: as expected before.
	Guess func() time.Duration
	Now   func() time.Time

	mu     sync.Mutex // of slots and all below
	began  time.Time
	Units  []*Unit
	doomed []*Unit
	active int           // units that run, doomed ones too
	open   int           // units that are not over
	wake   chan struct{} // holds one: something changed
	meter  meter
}

// Run blocks until every step has run, was skipped, or stop or ctx kept it from
// starting.
func (s *Schedule) Run(ctx context.Context) {
	s.began = s.Now()
	defer context.AfterFunc(ctx, s.Poke)()
	defer s.meter.stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for s.advance(ctx, &wg) {
		s.tell()
		<-s.wake
	}
}

// Poke makes Run look again at what may start, and at stop.
func (s *Schedule) Poke() {
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
	s.open = len(s.Units)
	for _, u := range s.Units {
		u.Lacks = lacks != nil && lacks(u)
		s.queue(u)
	}
}

// queue lets u start when it waits for nothing.
func (s *Schedule) queue(u *Unit) {
	if u.needs == 0 && !u.Lacks && u.state == unitWaiting {
		u.state = unitReady
		heap.Push(&s.ready, u)
	}
}

// Arrive says that what u lacked is there.
func (s *Schedule) Arrive(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.Lacks = false
	s.queue(u)
	s.Poke()
}

// Doom says that u will fail whatever it depends on, without taking time: it
// runs at once, so that it is known early.
func (s *Schedule) Doom(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.state == unitWaiting {
		u.state, u.doomed = unitReady, true
		s.doomed = append(s.doomed, u)
		s.Poke()
	}
}

// advance starts what can, and reports whether there is something to wait for.
func (s *Schedule) advance(ctx context.Context, wg *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := s.Stop() || ctx.Err() != nil
	for !stopped {
		u := s.take()
		if u == nil {
			break
		}
		u.state = unitRunning
		s.active++
		wg.Go(func() { s.start(ctx, u) })
		stopped = s.Stop()
	}
	return s.active > 0 || s.open > 0 && !stopped
}

func (s *Schedule) start(ctx context.Context, u *Unit) {
	if s.Claim != nil && !u.doomed {
		if wait := s.Claim(u); wait != nil {
			s.park(u)
			wait(ctx)
			s.Arrive(u)
			return
		}
	}
	s.Do(ctx, u.Steps, func(st *plan.Step, ok bool) { s.ended(ctx, u, st, ok) })
	s.release(u)
}

// park gives back what u took, until it arrives.
func (s *Schedule) park(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state, u.Lacks = unitWaiting, true
	s.vacate(u)
	s.active--
	s.Poke()
}

// take is what starts now, nil when nothing does.
func (s *Schedule) take() *Unit {
	if n := len(s.doomed); n > 0 {
		u := s.doomed[n-1]
		s.doomed = s.doomed[:n-1]
		return u
	}
	now := s.Now().Sub(s.began)
	u := s.next(now)
	if u != nil {
		s.occupy(u, now+s.guesser()(u))
	}
	return u
}

// guesser tells how long a unit should take, by what is known at this moment.
func (s *Schedule) guesser() func(*Unit) time.Duration {
	var guess time.Duration
	if s.Guess != nil {
		guess = s.Guess()
	}
	return func(u *Unit) time.Duration {
		if u.guessed && guess > 0 {
			return guess
		}
		return u.expected
	}
}

// ended takes in that a member of u did.
func (s *Schedule) ended(ctx context.Context, u *Unit, st *plan.Step, ok bool) {
	if !ok && ctx.Err() != nil {
		return // nobody is to blame for being cancelled
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.Poke()
	behind := u.Behind[slices.Index(u.Steps, st)]
	if !ok {
		s.blame(behind, st.Output.Ref)
		return
	}
	for _, next := range behind {
		next.needs--
		s.queue(next)
	}
}

// release gives back what u took.
func (s *Schedule) release(u *Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state = unitOver
	if !u.doomed {
		s.vacate(u)
	}
	s.active--
	s.open--
	s.Poke()
}

// blame skips units, and all that waits for them.
func (s *Schedule) blame(behind []*Unit, cause graph.Ref) {
	for _, u := range behind {
		if u.state != unitWaiting {
			continue
		}
		u.state = unitOver
		s.open--
		for i, st := range u.Steps {
			s.Skip(st, cause)
			s.blame(u.Behind[i], cause)
		}
	}
}
