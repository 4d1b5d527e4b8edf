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
// late sources, moments of Ctrl-C, machines, bindings to them, and machines that go down
// and come up, that the limits hold on each machine, dependencies come first, no step is
// lost or runs twice at once, and the run ends.
func TestScheduleInvariants(t *testing.T) {
	given := 0
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			all := randomSteps(r)
			e := newFake(t, all, randomCapacity(r, seed))
			actual := map[*plan.Step]time.Duration{}
			failing := map[*plan.Step]bool{}
			for _, s := range all {
				actual[s] = time.Duration(r.Float64() * 2 * float64(s.Expected))
				failing[s] = seed%3 > 0 && r.IntN(12) == 0
			}
			e.duration = func(s *plan.Step) time.Duration { return actual[s] }
			e.fails = func(s *plan.Step) bool { return failing[s] }
			e.stopOn = seed%3 == 2
			e.restrict(r)
			late := func(*Unit) bool { return r.IntN(2) == 0 }
			e.schedule.Prepare(all, late)
			for _, u := range e.schedule.Units {
				if u.Blocked {
					time.AfterFunc(time.Duration(r.IntN(1000))*time.Second, func() { e.schedule.Unblock(u) })
				}
			}
			e.disturb(r)
			drained := seed%5 == 4
			if drained {
				time.AfterFunc(time.Duration(r.IntN(500))*time.Second, e.end)
			}
			e.schedule.Run(t.Context())
			if !drained && !e.stopOn {
				e.wantAll(all)
			}
			if len(e.running) != 0 {
				t.Error("it returned while something ran")
			}
			given += e.given
			synctest.Wait()
			time.Sleep(time.Hour) // the timers
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if given < 100 {
		t.Errorf("only %d steps were given back: this checks little", given)
	}
}

// randomCapacity returns one machine for odd seeds, and else up to four that differ.
func randomCapacity(r *rand.Rand, seed uint64) Capacity {
	c := Capacity{Jobs: 1 + r.IntN(8), Memory: 12 << 30}
	if seed%2 == 0 {
		for range 1 + r.IntN(4) {
			c.Machines = append(c.Machines, Machine{Jobs: 1 + r.IntN(4), Memory: int64(r.IntN(5)) << 32})
		}
	}
	return c
}

// restrict binds a third of the definitions to one machine each, and makes it take time
// to move inputs.
func (e *fakeEngine) restrict(r *rand.Rand) {
	n, salt := len(e.on), r.IntN(1000)
	hash := func(u *Unit) int {
		sum := salt
		for _, c := range u.Steps[0].Output.Definition.Name {
			sum = sum*31 + int(c)
		}
		return sum
	}
	e.schedule.May = func(u *Unit, on int) bool { return hash(u)%3 > 0 || hash(u)/3%n == on }
	if r.IntN(2) == 0 {
		e.schedule.Move = func(u *Unit, on int) time.Duration { return time.Duration((hash(u)+7*on)%60) * time.Second }
	}
}

// disturb makes machines go down and come up again.
func (e *fakeEngine) disturb(r *rand.Rand) {
	for on := range e.on {
		at := time.Duration(0)
		for range r.IntN(4) {
			at += time.Duration(r.IntN(600)) * time.Second
			time.AfterFunc(at, func() { e.setDown(on, true) })
			at += time.Duration(r.IntN(300)) * time.Second
			time.AfterFunc(at, func() { e.setDown(on, false) })
		}
	}
}

// TestScheduleHomeless checks that a unit that may run on no machine is run on none, to
// fail: at the start, and when the last machine for it has left while it ran there.
func TestScheduleHomeless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := plantest.Steps(t, "one:\ntwo:\nthree:\n")
		var mu sync.Mutex
		left, ran := false, map[string]int{}
		s := &Schedule{Slots: Capacity{Machines: []Machine{{Name: "a"}, {Name: "b"}}}.Slots(), Now: time.Now, Stop: func() bool { return false }}
		s.May = func(u *Unit, on int) bool {
			mu.Lock()
			defer mu.Unlock()
			return u.Steps[0] == all[0] || u.Steps[0] == all[2] && on == 1 && !left
		}
		s.Do = func(_ context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
			if on == 1 && steps[0] == all[2] {
				mu.Lock()
				left = true
				mu.Unlock()
				s.SetDown(1, true)
				return true
			}
			mu.Lock()
			ran[steps[0].Output.Ref.Name] = on
			mu.Unlock()
			ended(steps[0], on >= 0)
			return false
		}
		s.Prepare(all, nil)
		s.Run(t.Context())
		if ran["one"] < 0 || ran["two"] != -1 || ran["three"] != -1 {
			t.Errorf("ran on %v", ran)
		}
	})
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
