package schedule

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/graph"
)

// fakeMachine is a machine of a fakeEngine. Lost is closed when it goes down.
type fakeMachine struct {
	running int
	used    int64
	down    time.Time // since when; zero: it is up
	lost    chan struct{}
}

// fakeEngine runs the units of a schedule in fake time, and fails the test if an
// invariant is violated. What runs on a machine that goes down is given back.
type fakeEngine struct {
	t        *testing.T
	schedule *Schedule
	duration func(*plan.Step) time.Duration
	fails    func(*plan.Step) bool
	stopOn   bool // a failure stops the run

	mu      sync.Mutex
	stopped time.Time // zero: not yet
	running map[graph.Ref]bool
	on      []fakeMachine
	active  map[graph.Ref]bool // that the plan builds
	ended   map[graph.Ref]bool // true: up to date
	skipped map[graph.Ref]graph.Ref
	started map[graph.Ref]time.Duration
	given   int // members that were given back
	began   time.Time
}

func newFake(t *testing.T, all []*plan.Step, c Capacity) *fakeEngine {
	e := &fakeEngine{
		t: t, began: time.Now(), running: map[graph.Ref]bool{}, active: map[graph.Ref]bool{}, ended: map[graph.Ref]bool{},
		skipped: map[graph.Ref]graph.Ref{}, started: map[graph.Ref]time.Duration{},
		duration: func(s *plan.Step) time.Duration { return s.Expected }, fails: func(*plan.Step) bool { return false },
	}
	for _, s := range all {
		if s.Action == plan.ActionBuild {
			e.active[s.Output.Ref] = true
		}
	}
	for range max(len(c.Machines), 1) {
		e.on = append(e.on, fakeMachine{lost: make(chan struct{})})
	}
	e.schedule = &Schedule{Slots: c.Slots(), Stop: e.stop, Do: e.run, Skip: e.skip, Now: time.Now}
	return e
}

func (e *fakeEngine) stop() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.stopped.IsZero()
}

// halt makes stop report true from now on. The caller holds e.mu.
func (e *fakeEngine) halt() {
	if e.stopped.IsZero() {
		e.stopped = time.Now()
	}
}

func (e *fakeEngine) end() {
	e.mu.Lock()
	e.halt()
	e.mu.Unlock()
	e.schedule.Wake()
}

// setDown makes a machine go down or come up.
func (e *fakeEngine) setDown(on int, down bool) {
	e.mu.Lock()
	m := &e.on[on]
	if down && m.down.IsZero() {
		m.down = time.Now()
		close(m.lost)
	} else if !down && !m.down.IsZero() {
		m.down, m.lost = time.Time{}, make(chan struct{})
	}
	e.mu.Unlock()
	e.schedule.SetDown(on, down)
}

// run runs the members at once, as the real one does.
func (e *fakeEngine) run(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
	need := e.schedule.machines[on].need(&Unit{memory: steps[0].Memory})
	lost := e.begin(on, steps, need)
	var members sync.WaitGroup
	for _, s := range steps {
		members.Go(func() {
			select {
			case <-time.After(e.duration(s)):
			case <-ctx.Done():
			case <-lost:
			}
			e.memberEnded(ctx, s, lost, ended)
		})
	}
	members.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.on[on].running--
	e.on[on].used -= need
	return isClosed(lost)
}

func (e *fakeEngine) memberEnded(ctx context.Context, s *plan.Step, lost <-chan struct{}, ended func(*plan.Step, bool)) {
	e.mu.Lock()
	delete(e.running, s.Output.Ref)
	if isClosed(lost) {
		e.given++
		e.mu.Unlock()
		return
	}
	ok := !e.fails(s) && ctx.Err() == nil
	e.ended[s.Output.Ref] = ok
	if !ok && e.stopOn {
		e.halt()
	}
	e.mu.Unlock()
	ended(s, ok)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (e *fakeEngine) begin(on int, steps []*plan.Step, need int64) (lost <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, of := &e.on[on], e.schedule.machines[on].Machine
	if m.running++; m.running > of.Jobs {
		e.t.Errorf("%d run at once on machine %d, with %d jobs", m.running, on, of.Jobs)
	}
	if m.used += need; of.Memory > 0 && m.used > of.Memory {
		e.t.Errorf("what runs on machine %d needs %d of %d bytes", on, m.used, of.Memory)
	}
	// What was chosen in the instant of the stop, or in which a machine went down, may
	// still start in it.
	if !e.stopped.IsZero() && time.Now().After(e.stopped) {
		e.t.Errorf("%s started after the stop", steps[0].Output.Ref)
	}
	if !m.down.IsZero() && time.Now().After(m.down) {
		e.t.Errorf("%s started on machine %d, which is down", steps[0].Output.Ref, on)
	}
	for _, s := range steps {
		e.beginMember(on, s)
	}
	return m.lost
}

func (e *fakeEngine) beginMember(on int, s *plan.Step) {
	ref := s.Output.Ref
	if _, ended := e.ended[ref]; ended || e.running[ref] || !e.active[ref] {
		e.t.Errorf("%s started again, or is up to date", ref)
	}
	if may := e.schedule.May; may != nil && !may(&Unit{Steps: []*plan.Step{s}}, on) {
		e.t.Errorf("%s started on machine %d, where it may not run", ref, on)
	}
	e.running[ref] = true
	e.started[ref] = time.Since(e.began)
	for _, d := range s.Output.Deps {
		if e.active[d] && !e.ended[d] {
			e.t.Errorf("%s started before %s was there", ref, d)
		}
	}
}

func (e *fakeEngine) skip(s *plan.Step, cause graph.Ref) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, again := e.skipped[s.Output.Ref]; again {
		e.t.Errorf("%s was skipped twice", s.Output.Ref)
	}
	e.skipped[s.Output.Ref] = cause
	if ok, ran := e.ended[cause]; ok || !ran {
		e.t.Errorf("%s was skipped for %s, which did not fail", s.Output.Ref, cause)
	}
}

// wantAll fails the test unless each step ended, or was skipped because a dependency
// failed.
func (e *fakeEngine) wantAll(all []*plan.Step) {
	doomed := map[graph.Ref]bool{}
	for _, s := range all {
		ref := s.Output.Ref
		if !e.active[ref] {
			continue
		}
		blamed := slices.ContainsFunc(s.Output.Deps, func(d graph.Ref) bool { return doomed[d] })
		ok, ran := e.ended[ref]
		_, skipped := e.skipped[ref]
		doomed[ref] = blamed || !ok
		if ran == blamed || skipped != blamed {
			e.t.Errorf("%s: ran %v, skipped %v; to be skipped %v", ref, ran, skipped, blamed)
		}
	}
}
