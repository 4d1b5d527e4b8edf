package schedule

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
	"codeberg.org/stagex/sx/graph"
)

// fakeEngine runs the units of a schedule in fake time, and fails the test if an
// invariant is violated.
type fakeEngine struct {
	t        *testing.T
	schedule *Schedule
	duration func(*plan.Step) time.Duration
	fails    func(*plan.Step) bool
	stopOn   bool // a failure stops the run

	mu      sync.Mutex
	stopped time.Time // zero: not yet
	running int
	used    int64
	active  map[graph.Ref]bool // that the plan builds
	ended   map[graph.Ref]bool // true: up to date
	skipped map[graph.Ref]graph.Ref
	started map[graph.Ref]time.Duration
	began   time.Time
}

func newFake(t *testing.T, all []*plan.Step, c Capacity) *fakeEngine {
	e := &fakeEngine{
		t: t, began: time.Now(), active: map[graph.Ref]bool{}, ended: map[graph.Ref]bool{},
		skipped: map[graph.Ref]graph.Ref{}, started: map[graph.Ref]time.Duration{},
		duration: func(s *plan.Step) time.Duration { return s.Expected }, fails: func(*plan.Step) bool { return false },
	}
	for _, s := range all {
		if s.Action == plan.ActionBuild {
			e.active[s.Output.Ref] = true
		}
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

// run runs the members at once, as the real one does.
func (e *fakeEngine) run(ctx context.Context, steps []*plan.Step, ended func(*plan.Step, bool)) {
	need := e.schedule.need(&Unit{memory: steps[0].Memory})
	e.begin(steps, need)
	var members sync.WaitGroup
	for _, s := range steps {
		members.Go(func() {
			select {
			case <-time.After(e.duration(s)):
			case <-ctx.Done():
			}
			ok := !e.fails(s) && ctx.Err() == nil
			e.mu.Lock()
			e.ended[s.Output.Ref] = ok
			if !ok && e.stopOn {
				e.halt()
			}
			e.mu.Unlock()
			ended(s, ok)
		})
	}
	members.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	e.used -= need
}

func (e *fakeEngine) begin(steps []*plan.Step, need int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running++; e.running > e.schedule.jobs {
		e.t.Errorf("%d run at once, with -j %d", e.running, e.schedule.jobs)
	}
	if e.used += need; e.used > e.schedule.memory {
		e.t.Errorf("what runs needs %d of %d bytes", e.used, e.schedule.memory)
	}
	// A unit that was chosen in the instant of the stop may still start in it.
	if !e.stopped.IsZero() && time.Now().After(e.stopped) {
		e.t.Errorf("%s started after the stop", steps[0].Output.Ref)
	}
	for _, s := range steps {
		if _, again := e.started[s.Output.Ref]; again || !e.active[s.Output.Ref] {
			e.t.Errorf("%s started again, or is up to date", s.Output.Ref)
		}
		e.started[s.Output.Ref] = time.Since(e.began)
		for _, d := range s.Output.Deps {
			if e.active[d] && !e.ended[d] {
				e.t.Errorf("%s started before %s was there", s.Output.Ref, d)
			}
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

// randomSteps returns up to 120 outputs, some in families, some up to date.
func randomSteps(r *rand.Rand) []*plan.Step {
	var all []*plan.Step
	for d := range 20 + r.IntN(60) {
		definition := &graph.Definition{Stage: "core", Name: fmt.Sprint("d", d)}
		deps := map[graph.Ref]bool{}
		for range r.IntN(4) {
			if len(all) > 0 {
				deps[all[r.IntN(len(all))].Output.Ref] = true
			}
		}
		action := plan.ActionBuild
		if len(deps) == 0 && r.IntN(4) == 0 {
			action = plan.ActionNone
		}
		memory := int64(r.IntN(5)) << 30 * int64(1+7*(r.IntN(9)/8))
		for m := range 1 + r.IntN(5)*(r.IntN(8)/7) {
			all = append(all, &plan.Step{
				Action: action, Memory: memory, Expected: time.Duration(1+r.IntN(100)) * time.Second,
				Output: &graph.Output{
					Ref:        graph.Ref{Stage: "core", Name: fmt.Sprintf("d%d.%d", d, m)},
					Definition: definition, Deps: slices.SortedFunc(maps.Keys(deps), graph.Ref.Compare),
				},
			})
		}
	}
	plan.Family(all)
	return all
}

// TestScheduleInvariants checks, over random graphs, times, memory needs, failures,
// late sources and moments of Ctrl-C, that the limits hold, dependencies come first,
// no step is lost, and the run ends.
func TestScheduleInvariants(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			all := randomSteps(r)
			e := newFake(t, all, Capacity{Jobs: 1 + r.IntN(8), Memory: 12 << 30})
			actual := map[*plan.Step]time.Duration{}
			failing := map[*plan.Step]bool{}
			for _, s := range all {
				actual[s] = time.Duration(r.Float64() * 2 * float64(s.Expected))
				failing[s] = seed%3 > 0 && r.IntN(12) == 0
			}
			e.duration = func(s *plan.Step) time.Duration { return actual[s] }
			e.fails = func(s *plan.Step) bool { return failing[s] }
			e.stopOn = seed%3 == 2
			late := func(*Unit) bool { return r.IntN(2) == 0 }
			e.schedule.Prepare(all, late)
			for _, u := range e.schedule.Units {
				if u.Blocked {
					time.AfterFunc(time.Duration(r.IntN(1000))*time.Second, func() { e.schedule.Unblock(u) })
				}
			}
			drained := seed%5 == 4
			if drained {
				time.AfterFunc(time.Duration(r.IntN(500))*time.Second, e.end)
			}
			e.schedule.Run(t.Context())
			if !drained && !e.stopOn {
				e.wantAll(all)
			}
			if e.running != 0 {
				t.Error("it returned while something ran")
			}
			synctest.Wait()
			time.Sleep(time.Hour) // the timers
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestScheduleBigOneIsNotStarved checks that a unit larger than the budget runs by
// itself, and that smaller units do not keep it from starting: they go first only if
// that does not delay it, although all of them are ready and it never fits while two
// of them run.
func TestScheduleBigOneIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := "seed:\nbig: seed\nafter: big\n"
		for i := range 60 {
			text += fmt.Sprintf("s%02d:\n", i)
		}
		all := plantest.Steps(t, text)
		all[1].Expected, all[2].Expected = time.Hour, time.Hour
		all[1].Memory = 64 << 30
		for _, s := range all[3:] {
			s.Expected, s.Memory = 10*time.Minute, 4<<30
		}
		e := newFake(t, all, Capacity{Jobs: 4, Memory: 12 << 30})
		e.duration = func(s *plan.Step) time.Duration { // small ones are slower than expected
			if s.Expected == 10*time.Minute {
				return 15 * time.Minute
			}
			return s.Expected
		}
		e.schedule.Prepare(all, nil)
		e.schedule.Run(t.Context())
		e.wantAll(all)
		big := e.started[all[1].Output.Ref]
		if big > 16*time.Minute {
			t.Errorf("the big one started after %s", big)
		}
		for ref, at := range e.started {
			if at > big && at < big+time.Hour && ref != all[1].Output.Ref {
				t.Errorf("%s started beside it", ref)
			}
		}
	})
}

// TestScheduleFillsGaps checks that units start beside one that waits for memory if
// they do not delay it.
func TestScheduleFillsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := plantest.Steps(t, "one:\ntwo:\nbrief:\nbeside:\nlong:\n")
		const gib = 1 << 30
		for i, s := range []plan.Step{
			{Expected: 60 * time.Minute, Memory: 8 * gib}, {Expected: 50 * time.Minute, Memory: 6 * gib},
			{Expected: 40 * time.Minute, Memory: 2 * gib}, {Expected: 30 * time.Minute, Memory: 1 * gib},
			{Expected: 20 * time.Minute, Memory: 3 * gib},
		} {
			all[i].Expected, all[i].Memory = s.Expected, s.Memory
		}
		e := newFake(t, all, Capacity{Jobs: 4, Memory: 11 * gib})
		e.schedule.Prepare(all, nil)
		e.schedule.Run(t.Context())
		got := map[string]time.Duration{}
		for ref, at := range e.started {
			got[ref.Name] = at
		}
		want := map[string]time.Duration{
			"one": 0, "brief": 0, "beside": 0, // brief ends before two could start, and beside fits beside it
			"two": 60 * time.Minute, "long": 40 * time.Minute, // when brief has ended there is room, and time
		}
		if !maps.Equal(got, want) {
			t.Errorf("started %v, want %v", got, want)
		}
	})
}
