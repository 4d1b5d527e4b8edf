package schedule_test

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
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/schedule/scheduletest"
)

// play runs the steps.
func play(t *testing.T, s *schedule.Schedule, all []*plan.Step) {
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
		var r scheduletest.Recorder
		all := plantest.Steps(t, diamond)
		play(t, r.Schedule(jobs), all)
		if r.Most > jobs {
			t.Errorf("-j %d: %d ran at once", jobs, r.Most)
		}
		for _, s := range all {
			begin := slices.Index(r.Events, "start "+s.Output.Ref.Name)
			if (begin < 0) != (s.Action == plan.ActionNone) {
				t.Errorf("-j %d: %s: started %v", jobs, s.Output.Ref, begin >= 0)
			}
			for _, d := range s.Output.Deps {
				if end := slices.Index(r.Events, "end "+d.Name); end > begin && begin >= 0 {
					t.Errorf("-j %d: %s started before %s ended", jobs, s.Output.Ref, d)
				}
			}
		}
	}
}

// The longest chain goes first, and with one job the order is always the same.
func TestScheduleLongestFirst(t *testing.T) {
	var r scheduletest.Recorder
	play(t, r.Schedule(1), plantest.Steps(t, "a:\nz:\ny: z\nx: y\nb: a\n"))
	var started []string
	for _, e := range r.Events {
		if name, ok := strings.CutPrefix(e, "start "); ok {
			started = append(started, name)
		}
	}
	if got := strings.Join(started, " "); got != "z a y b x" && got != "z y a b x" {
		t.Errorf("started %s", got)
	}
}

func TestScheduleFailure(t *testing.T) {
	var r scheduletest.Recorder
	play(t, r.Schedule(4, "left"), plantest.Steps(t, diamond+"\thigher: top\n"))
	for _, want := range []string{"skip top for left", "skip higher for left", "end right", "end alone"} {
		if !slices.Contains(r.Events, want) {
			t.Errorf("no %q in %q", want, r.Events)
		}
	}
	if slices.Contains(r.Events, "start top") {
		t.Error("a step ran although its dependency failed")
	}
}

// Once Stop reports true nothing starts any more, and Run waits for the running units.
func TestScheduleStop(t *testing.T) {
	var r scheduletest.Recorder
	s := r.Schedule(1)
	s.Stop = func() bool { return r.Has("end seed") }
	play(t, s, plantest.Steps(t, "seed:\nleft: seed\nright: seed\n"))
	if got := strings.Join(r.Events, ", "); got != "start seed, end seed" {
		t.Errorf("ran %s", got)
	}
}

// A family is one unit: it takes one job, and the dependents of a member wait for that
// member only.
func TestScheduleFamily(t *testing.T) {
	all := plantest.FamilyOf(t, "seed:\nllvm.a: seed\nalone: seed\n-llvm.z: seed\nllvm.b: seed\nuser: llvm.b\nother: llvm.a\n")
	if len(all[1].Family) != 2 || all[1].Family[1] != all[4] || all[4].Family == nil || all[2].Family != nil || all[3].Family != nil {
		t.Fatal("the families are wrong")
	}
	var r scheduletest.Recorder
	play(t, r.Schedule(1, "llvm.a"), all)
	got := strings.Join(r.Events, ", ")
	for _, want := range []string{"start llvm.a, end llvm.a, skip other for llvm.a, start llvm.b, end llvm.b", "end user", "end alone"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// The estimate is how long the rest takes if each unit takes its expected time.
func TestScheduleEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []time.Duration
		var r scheduletest.Recorder
		s := r.Schedule(2)
		s.Estimate = func(d time.Duration) { left = append(left, d) }
		s.Do = func(_ context.Context, _ int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
			time.Sleep(steps[0].Expected)
			ended(steps[0], true)
			return false
		}
		all := plantest.Steps(t, "seed:\nleft: seed\nright: seed\ntop: left right\nalone:\n")
		all[1].Expected = 3 * time.Second
		all[4].Expected = 1100 * time.Millisecond // too soon after seed's end for another
		play(t, s, all)
		want := []time.Duration{5 * time.Second, 4 * time.Second, 3 * time.Second, 2 * time.Second, time.Second}
		if !slices.Equal(left, want) {
			t.Errorf("estimates %v, want %v", left, want)
		}
	})
}

// The builds of this run say how long the other outputs that were never timed take.
func TestScheduleUntimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []time.Duration
		var mu sync.Mutex
		var built schedule.Average
		var r scheduletest.Recorder
		s := r.Schedule(1)
		s.Estimate = func(d time.Duration) { left = append(left, d) }
		s.UntimedEstimate = func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return built.Value()
		}
		s.Do = func(_ context.Context, _ int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
			time.Sleep(2 * time.Second)
			mu.Lock()
			built.Add(2 * time.Second)
			mu.Unlock()
			ended(steps[0], true)
			return false
		}
		all := plantest.Steps(t, "a:\nb: a\nc: b\nd: c\n")
		for _, s := range all {
			s.Expected, s.Untimed = time.Minute, s.Output.Ref.Name != "d"
		}
		play(t, s, all)
		if got := fmt.Sprint(left[:2]); got != "[4m0s 1m4s]" {
			t.Errorf("estimates %s", got)
		}
	})
}

// A unit that another process holds takes no job: the next one goes first, and the unit
// starts when the other process is done.
func TestScheduleHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r scheduletest.Recorder
		s := r.Schedule(1)
		free := time.Now().Add(time.Minute)
		s.Claim = func(u *schedule.Unit) func(context.Context) {
			if u.Steps[0].Output.Ref.Name != "a" || !time.Now().Before(free) {
				return nil
			}
			r.Add(0, "wait a")
			return func(context.Context) { time.Sleep(time.Until(free)) }
		}
		play(t, s, plantest.Steps(t, "a:\nb:\nc: a\n"))
		if got, want := strings.Join(r.Events, ", "), "wait a, start b, end b, start a, end a, start c, end c"; got != want {
			t.Errorf("it ran %s, want %s", got, want)
		}
	})
}
