package schedule

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
)

const gib = 1 << 30

// place returns the machine of a new unit, -1 if it waits, on machines where what busy
// tells runs for so many minutes. Move tells how many minutes its inputs take to each.
func place(c Capacity, busy, move []int, down int, u *Unit) int {
	s := c.Slots()
	for on, minutes := range busy {
		if minutes > 0 {
			s.occupy(&Unit{memory: 1}, on, time.Duration(minutes)*time.Minute)
		}
	}
	if down >= 0 {
		s.machines[down].down = true
	}
	s.ready = unitHeap{u}
	got, on := s.next(0, rules{move: func(_ *Unit, on int) time.Duration { return time.Duration(move[on]) * time.Minute }})
	if got == nil {
		return -1
	}
	return on
}

// A unit starts on the machine on which it ends first, or waits for that machine.
func TestPlace(t *testing.T) {
	two := []Machine{{Jobs: 1, Memory: 8 * gib}, {Jobs: 1, Memory: 32 * gib}}
	for _, c := range []struct {
		name       string
		machines   []Machine
		busy, move []int
		down       int
		memory     int64
		want       int
	}{
		{"inputs are on one", two, []int{0, 0}, []int{3, 0}, -1, 0, 1},
		{"a busy one has the inputs, and ends first", two, []int{0, 2}, []int{3, 0}, -1, 0, -1},
		{"a busy one has the inputs, and ends last", two, []int{0, 4}, []int{3, 0}, -1, 0, 0},
		{"one that is down has the inputs", two, []int{0, 0}, []int{3, 0}, 1, 0, 0},
		{"the least busy", []Machine{{Jobs: 4}, {Jobs: 8}}, []int{1, 1}, []int{0, 0}, -1, 0, 1},
		{"it needs much memory", two, []int{0, 0}, []int{0, 3}, -1, 20 * gib, 1},
		{"it needs much memory, and the large one is busy", two, []int{0, 9}, []int{0, 3}, -1, 20 * gib, -1},
		{"it needs much memory, and the large one is down", two, []int{0, 0}, []int{0, 3}, 1, 20 * gib, 0},
	} {
		u := &Unit{memory: c.memory, expected: time.Minute}
		if got := place(Capacity{Machines: c.machines}, c.busy, c.move, c.down, u); got != c.want {
			t.Errorf("%s: machine %d, want %d", c.name, got, c.want)
		}
	}
}

// A unit that waits for one machine keeps none from using the others.
func TestPlaceBeside(t *testing.T) {
	s := Capacity{Machines: []Machine{{}, {}}}.Slots()
	s.occupy(&Unit{}, 1, time.Hour)
	for i := range 3 * lookahead {
		s.ready.Push(&Unit{Rank: i})
	}
	bound := func(u *Unit, on int) bool { return on == 1 || u.Rank == 3*lookahead-1 }
	if u, on := s.next(0, rules{may: bound}); u == nil || on != 0 {
		t.Errorf("got %v on %d", u, on)
	}
}

// Of a family that is given back only those members run again that have not ended, on
// another machine.
func TestScheduleAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := plantest.FamilyOf(t, "llvm.a:\nllvm.b:\nuser: llvm.b\n")
		s := &Schedule{Slots: Capacity{Machines: []Machine{{}, {}}}.Slots(), Stop: func() bool { return false }, Now: time.Now}
		type call struct {
			on    int
			steps []*plan.Step
		}
		var calls []call
		s.Do = func(_ context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
			calls = append(calls, call{on, steps})
			if len(calls) == 1 {
				ended(steps[0], true)
				s.SetDown(on, true)
				return true
			}
			for _, st := range steps {
				ended(st, true)
			}
			return true // lost, but after all had ended
		}
		s.Prepare(all, nil)
		s.Run(t.Context())
		if len(calls) != 3 || calls[0].on == calls[1].on || !slices.Equal(calls[1].steps, all[1:2]) || !slices.Equal(calls[2].steps, all[2:]) {
			t.Errorf("got %v", calls)
		}
	})
}
