package schedule

import (
	"cmp"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/graph"
)

// Unit is a step or a family of steps. It takes one job.
type Unit struct {
	Steps    []*plan.Step
	left     []*plan.Step // those that have not ended
	index    int          // in Schedule.Units, which is in plan order
	expected time.Duration
	untimed  bool          // no member was ever timed
	memory   int64         // its peak in bytes; 0 if unknown
	height   time.Duration // of the longest path of dependents, this unit included
	Rank     int           // the ready unit with the lowest starts first

	needs      int       // steps of other units that have not ended and on which it depends
	Blocked    bool      // it waits for sources or images, or for another process
	Dependents [][]*Unit // by member: the units that depend on it
	state      unitState
	since      time.Time // it waits for what it waits for now; zero before the run
	failsEarly bool      // it runs at once and takes no slot
}

// Left returns the members that have not ended: fewer than all if the machine that ran
// them was lost. [Schedule].Claim may call it.
func (u *Unit) Left() []*plan.Step { return u.left }

type unitState int

const (
	unitWaiting unitState = iota
	unitReady
	unitRunning
	unitOver // ended, or skipped
)

// units groups the steps that will run, and links each unit to its dependents.
// Dependencies come before dependents.
func units(steps []*plan.Step) []*Unit {
	var all []*Unit
	place := map[graph.Ref]*Unit{}
	for _, s := range steps {
		if s.Action == plan.ActionNone || place[s.Output.Ref] != nil {
			continue
		}
		u := &Unit{Steps: []*plan.Step{s}, index: len(all)}
		if s.Family != nil {
			u.Steps = s.Family
		}
		u.Dependents, u.untimed = make([][]*Unit, len(u.Steps)), true
		for _, member := range u.Steps {
			place[member.Output.Ref] = u
			u.expected = max(u.expected, member.Expected)
			u.memory = max(u.memory, member.Memory)
			u.untimed = u.untimed && member.Untimed
		}
		u.left = u.Steps
		all = append(all, u)
	}
	for _, u := range all {
		if u.Steps[0].Action == plan.ActionPreseed || u.Steps[0].FromPublished {
			continue // pulling an image, or building from pulled ones, waits for no other step
		}
		for _, d := range u.Steps[0].Output.Deps { // a family's are the same
			if dep := place[d]; dep != nil {
				u.needs++
				i := slices.IndexFunc(dep.Steps, func(s *plan.Step) bool { return s.Output.Ref == d })
				dep.Dependents[i] = append(dep.Dependents[i], u)
			}
		}
	}
	prioritise(all)
	return all
}

// prioritise ranks units by their longest path of dependents, which bounds when the run
// can end.
func prioritise(all []*Unit) {
	for _, u := range slices.Backward(all) {
		u.height = u.expected
		for _, next := range slices.Concat(u.Dependents...) {
			u.height = max(u.height, u.expected+next.height)
		}
	}
	byRank := slices.Clone(all)
	slices.SortFunc(byRank, func(a, b *Unit) int {
		return cmp.Or(cmp.Compare(b.height, a.height), a.Steps[0].Output.Ref.Compare(b.Steps[0].Output.Ref))
	})
	for i, u := range byRank {
		u.Rank = i
	}
}
