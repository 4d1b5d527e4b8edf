package schedule

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
	"codeberg.org/stagex/sx/graph"
)

// ran is what a schedule did, in order: "start a", "end a", "skip b for a".
type ran struct {
	mu     sync.Mutex
	events []string
	now    int
	most   int
}

func (r *ran) add(delta int, event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now += delta
	r.most = max(r.most, r.now)
	r.events = append(r.events, event)
}

func (r *ran) schedule(jobs int, fails ...string) *Schedule {
	return &Schedule{
		Slots: Slots{jobs: jobs},
		Stop:  func() bool { return false },
		Now:   time.Now,
		Do: func(_ context.Context, steps []*plan.Step, ended func(*plan.Step, bool)) {
			for _, s := range steps {
				name := s.Output.Ref.Name
				r.add(1, "start "+name)
				r.add(-1, "end "+name)
				ended(s, !slices.Contains(fails, name))
			}
		},
		Skip: func(s *plan.Step, cause graph.Ref) { r.add(0, "skip "+s.Output.Ref.Name+" for "+cause.Name) },
	}
}

func (s *Schedule) play(t *testing.T, all []*plan.Step) {
	s.Prepare(all, nil)
	s.Run(t.Context())
}

const diamond = `
	-lib:
	seed: lib
	left: seed
	right: seed
	top: left right
	alone:
`

func TestScheduleOrder(t *testing.T) {
	for _, jobs := range []int{1, 2, 8} {
		var r ran
		all := plantest.Steps(t, diamond)
		r.schedule(jobs).play(t, all)
		if r.most > jobs {
			t.Errorf("-j %d: %d ran at once", jobs, r.most)
		}
		for _, s := range all {
			begin := slices.Index(r.events, "start "+s.Output.Ref.Name)
			if (begin < 0) != (s.Action == plan.ActionNone) {
				t.Errorf("-j %d: %s: started %v", jobs, s.Output.Ref, begin >= 0)
			}
			for _, d := range s.Output.Deps {
				if end := slices.Index(r.events, "end "+d.Name); end > begin && begin >= 0 {
					t.Errorf("-j %d: %s started before %s ended", jobs, s.Output.Ref, d)
				}
			}
		}
	}
}

// The longest chain goes first, and one job at a time always in the same order.
func TestScheduleLongestFirst(t *testing.T) {
	var r ran
	r.schedule(1).play(t, plantest.Steps(t, "a:\nz:\ny: z\nx: y\nb: a\n"))
	var started []string
	for _, e := range r.events {
		if name, ok := strings.CutPrefix(e, "start "); ok {
			started = append(started, name)
		}
	}
	if got := strings.Join(started, " "); got != "z a y b x" && got != "z y a b x" {
		t.Errorf("started %s", got)
	}
}

func TestScheduleFailure(t *testing.T) {
	var r ran
	r.schedule(4, "left").play(t, plantest.Steps(t, diamond+"\thigher: top\n"))
	for _, want := range []string{"skip top for left", "skip higher for left", "end right", "end alone"} {
		if !slices.Contains(r.events, want) {
			t.Errorf("no %q in %q", want, r.events)
		}
	}
	if slices.Contains(r.events, "start top") {
		t.Error("a step ran although what it needs failed")
	}
}

// Once stop says so nothing starts any more, and what runs is waited for.
func TestScheduleStop(t *testing.T) {
	var r ran
	s := r.schedule(1)
	s.Stop = func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Contains(r.events, "end seed")
	}
	s.play(t, plantest.Steps(t, "seed:\nleft: seed\nright: seed\n"))
	if got := strings.Join(r.events, ", "); got != "start seed, end seed" {
		t.Errorf("ran %s", got)
	}
}

// A family is one unit: it takes one job, and what needs one of its members
// waits for that one only.
func TestScheduleFamily(t *testing.T) {
	all := plantest.FamilyOf(t, "seed:\nllvm.a: seed\nalone: seed\n-llvm.z: seed\nllvm.b: seed\nuser: llvm.b\nother: llvm.a\n")
	if len(all[1].Family) != 2 || all[1].Family[1] != all[4] || all[4].Family == nil || all[2].Family != nil || all[3].Family != nil {
		t.Fatal("the families are wrong")
	}
	var r ran
	r.schedule(1, "llvm.a").play(t, all)
	got := strings.Join(r.events, ", ")
	for _, want := range []string{"start llvm.a, end llvm.a, skip other for llvm.a, start llvm.b, end llvm.b", "end user", "end alone"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// The estimate is how long the rest takes if everything takes what is expected.
func TestScheduleEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []time.Duration
		var r ran
		s := r.schedule(2)
		s.Estimate = func(d time.Duration) { left = append(left, d) }
		s.Do = func(_ context.Context, steps []*plan.Step, ended func(*plan.Step, bool)) {
			time.Sleep(steps[0].Expected)
			ended(steps[0], true)
		}
		all := plantest.Steps(t, "seed:\nleft: seed\nright: seed\ntop: left right\nalone:\n")
		all[1].Expected = 3 * time.Second
		all[4].Expected = 1100 * time.Millisecond // too soon after seed's end for another
		s.play(t, all)
		want := []time.Duration{5 * time.Second, 4 * time.Second, 3 * time.Second, 2 * time.Second, time.Second}
		if !slices.Equal(left, want) {
			t.Errorf("estimates %v, want %v", left, want)
		}
	})
}

// What the run has built tells how long the rest of what was never built takes.
func TestScheduleGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []time.Duration
		var mu sync.Mutex
		var built Average
		var r ran
		s := r.schedule(1)
		s.Estimate = func(d time.Duration) { left = append(left, d) }
		s.UntimedEstimate = func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return built.Value()
		}
		s.Do = func(_ context.Context, steps []*plan.Step, ended func(*plan.Step, bool)) {
			time.Sleep(2 * time.Second)
			mu.Lock()
			built.Add(2 * time.Second)
			mu.Unlock()
			ended(steps[0], true)
		}
		all := plantest.Steps(t, "a:\nb: a\nc: b\nd: c\n")
		for _, s := range all {
			s.Expected, s.Untimed = time.Minute, s.Output.Ref.Name != "d"
		}
		s.play(t, all)
		if got := fmt.Sprint(left[:2]); got != "[4m0s 1m4s]" {
			t.Errorf("estimates %s", got)
		}
	})
}

// A unit that another process holds takes no job: what comes after it in the
// order goes first, and it has its turn when it is let go.
func TestScheduleHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r ran
		s := r.schedule(1)
		free := time.Now().Add(time.Minute)
		s.Claim = func(u *Unit) func(context.Context) {
			if u.Steps[0].Output.Ref.Name != "a" || !time.Now().Before(free) {
				return nil
			}
			r.add(0, "wait a")
			return func(context.Context) { time.Sleep(time.Until(free)) }
		}
		s.play(t, plantest.Steps(t, "a:\nb:\nc: a\n"))
		if got, want := strings.Join(r.events, ", "), "wait a, start b, end b, start a, end a, start c, end c"; got != want {
			t.Errorf("it ran %s, want %s", got, want)
		}
	})
}
