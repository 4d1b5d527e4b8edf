package build

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"codeberg.org/stagex/sx/graph"
)

// schedule runs every step of a plan that is not up to date, each after those
// it depends on, as many units at once as slots allow, the one with the longest
// path behind it first. It stops starting units when stop reports true, and
// returns when what runs has ended.
type schedule struct {
	slots
	stop func() bool
	// run is called on several goroutines, with the steps of one unit. It tells
	// of each member that ended, and whether it is up to date now: when it is
	// not, all that depend on it fail too. Those are passed to skip with the
	// step that is to blame.
	run func(ctx context.Context, steps []*Step, ended func(s *Step, ok bool))
	// claim comes before run, and takes what another process might hold. Where
	// one does, or sources are lacking, wait returns once it is worth another
	// try, or nothing starts any more; meanwhile the unit takes no job. nil:
	// everything is at hand.
	claim func(u *unit) (wait func(ctx context.Context))
	skip  func(s *Step, cause graph.Ref)
	// estimate is told how long the rest should take; nil: nobody is.
	estimate func(left time.Duration)
	// guess is how long what was never built should take, after what this run has
	// built; 0, or nil: as expected before.
	guess func() time.Duration
	now   func() time.Time

	mu     sync.Mutex // of slots and all below
	began  time.Time
	units  []*unit
	doomed []*unit
	active int           // units that run, doomed ones too
	open   int           // units that are not over
	wake   chan struct{} // holds one: something changed
	meter  meter
}

// Run blocks until every step has run, was skipped, or stop or ctx kept it from
// starting.
func (s *schedule) Run(ctx context.Context) {
	s.began = s.now()
	defer context.AfterFunc(ctx, s.poke)()
	defer s.meter.stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for s.advance(ctx, &wg) {
		s.tell()
		<-s.wake
	}
}

// poke makes Run look again at what may start, and at stop.
func (s *schedule) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// prepare comes before Run. Units for which lacks holds wait until they are told
// that their sources arrived, or are doomed.
func (s *schedule) prepare(steps []*Step, lacks func(*unit) bool) {
	s.wake = make(chan struct{}, 1)
	s.units = units(steps)
	s.open = len(s.units)
	for _, u := range s.units {
		u.lacks = lacks != nil && lacks(u)
		s.queue(u)
	}
}

// queue lets u start when it waits for nothing.
func (s *schedule) queue(u *unit) {
	if u.needs == 0 && !u.lacks && u.state == unitWaiting {
		u.state = unitReady
		heap.Push(&s.ready, u)
	}
}

// arrive says that what u lacked is there.
func (s *schedule) arrive(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.lacks = false
	s.queue(u)
	s.poke()
}

// doom says that u will fail whatever it depends on, without taking time: it
// runs at once, so that it is known early.
func (s *schedule) doom(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.state == unitWaiting {
		u.state, u.doomed = unitReady, true
		s.doomed = append(s.doomed, u)
		s.poke()
	}
}

// advance starts what can, and reports whether there is something to wait for.
func (s *schedule) advance(ctx context.Context, wg *sync.WaitGroup) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := s.stop() || ctx.Err() != nil
	for !stopped {
		u := s.take()
		if u == nil {
			break
		}
		u.state = unitRunning
		s.active++
		wg.Go(func() { s.start(ctx, u) })
		stopped = s.stop()
	}
	return s.active > 0 || s.open > 0 && !stopped
}

func (s *schedule) start(ctx context.Context, u *unit) {
	if s.claim != nil && !u.doomed {
		if wait := s.claim(u); wait != nil {
			s.park(u)
			wait(ctx)
			s.arrive(u)
			return
		}
	}
	s.run(ctx, u.steps, func(st *Step, ok bool) { s.ended(ctx, u, st, ok) })
	s.release(u)
}

// park gives back what u took, until it arrives.
func (s *schedule) park(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state, u.lacks = unitWaiting, true
	s.vacate(u)
	s.active--
	s.poke()
}

// take is what starts now, nil when nothing does.
func (s *schedule) take() *unit {
	if n := len(s.doomed); n > 0 {
		u := s.doomed[n-1]
		s.doomed = s.doomed[:n-1]
		return u
	}
	now := s.now().Sub(s.began)
	u := s.next(now)
	if u != nil {
		s.occupy(u, now+s.guesser()(u))
	}
	return u
}

// guesser tells how long a unit should take, by what is known at this moment.
func (s *schedule) guesser() func(*unit) time.Duration {
	var guess time.Duration
	if s.guess != nil {
		guess = s.guess()
	}
	return func(u *unit) time.Duration {
		if u.guessed && guess > 0 {
			return guess
		}
		return u.expected
	}
}

// ended takes in that a member of u did.
func (s *schedule) ended(ctx context.Context, u *unit, st *Step, ok bool) {
	if !ok && ctx.Err() != nil {
		return // nobody is to blame for being cancelled
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.poke()
	behind := u.behind[slices.Index(u.steps, st)]
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
func (s *schedule) release(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.state = unitOver
	if !u.doomed {
		s.vacate(u)
	}
	s.active--
	s.open--
	s.poke()
}

// blame skips units, and all that waits for them.
func (s *schedule) blame(behind []*unit, cause graph.Ref) {
	for _, u := range behind {
		if u.state != unitWaiting {
			continue
		}
		u.state = unitOver
		s.open--
		for i, st := range u.steps {
			s.skip(st, cause)
			s.blame(u.behind[i], cause)
		}
	}
}
