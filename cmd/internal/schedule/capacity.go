package schedule

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Capacity limits what a schedule may use of machines.
type Capacity struct {
	Jobs     int             // outputs built at once, a family counting once; 0 means 1
	Memory   int64           // bytes that all concurrent builds may need; 0 means no limit
	Machines []Machine       // that build; empty: one of Jobs and Memory
	Hints    map[string]Hint // by the name of an output or of a definition, or a pattern of them
}

// Machine limits what a schedule may use of one of several machines.
type Machine struct {
	Name   string
	Jobs   int   // outputs built at once, a family counting once; 0 means 1
	Memory int64 // bytes that all concurrent builds may need; 0 means no limit
}

// TotalJobs returns how many outputs all machines build at once.
func (c Capacity) TotalJobs() (jobs int) {
	for _, m := range c.Machines {
		jobs += max(m.Jobs, 1)
	}
	if jobs == 0 {
		jobs = c.Jobs
	}
	return jobs
}

// Slots returns empty slots within the capacity.
func (c Capacity) Slots() Slots {
	of := c.Machines
	if len(of) == 0 {
		of = []Machine{{Jobs: c.Jobs, Memory: c.Memory}}
	}
	machines := make([]machine, len(of))
	for i, m := range of {
		m.Jobs = max(m.Jobs, 1)
		machines[i].Machine = m
	}
	return Slots{machines: machines}
}

// Hint is what the user says about a build; zero fields say nothing.
type Hint struct {
	Memory int64         // peak in bytes; it overrides what earlier builds needed
	Time   time.Duration // it is used if no earlier build was timed
}

// hint returns the hint for a step. The output's fields precede those of its definition,
// which precede those of patterns, the longest first.
func (c Capacity) hint(s *plan.Step) Hint {
	h := c.Hints[s.Output.Ref.String()]
	if d := s.Output.Definition; d != nil {
		h = h.or(c.Hints[d.Stage+"-"+d.Name])
	}
	for _, pattern := range c.patterns() {
		if s.Output.Like(pattern) {
			h = h.or(c.Hints[pattern])
		}
	}
	return h
}

// or returns h, with the fields of other where it says nothing.
func (h Hint) or(other Hint) Hint {
	return Hint{Memory: cmp.Or(h.Memory, other.Memory), Time: cmp.Or(h.Time, other.Time)}
}

// patterns returns the patterns of Hints, the longest first.
func (c Capacity) patterns() (all []string) {
	for name := range c.Hints {
		if strings.ContainsAny(name, "*?[") {
			all = append(all, name)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return all
}

// Knows reports whether an output or a definition has a name that [Capacity].Hints uses, or
// one that matches its pattern.
func Knows(t *tree.Tree, name string) bool {
	if strings.ContainsAny(name, "*?[") {
		return slices.ContainsFunc(t.Graph.All(), func(r graph.Ref) bool { return t.Graph.Output(r).Like(name) })
	}
	if ref, err := graph.ParseRef(name); err == nil && (t.Graph.Output(ref) != nil || t.Graph.BrokenOutput(ref) != nil) {
		return true
	}
	return slices.ContainsFunc(t.Graph.Definitions(), func(d *graph.Definition) bool { return d.Stage+"-"+d.Name == name })
}

// EstimateSteps sets Expected, Untimed and Memory of each step, by its last build here,
// or else by its hint. Steps without either get the average of the known times: the
// median would leave out the few outputs that take most of the time.
func EstimateSteps(t *tree.Tree, steps []*plan.Step, c Capacity) {
	timings := Timings(t)
	var known Average
	for _, s := range steps {
		if s.Action == plan.ActionPreseed {
			continue // it is pulled, not built
		}
		name, hint := s.Output.Ref.String(), c.hint(s)
		s.Expected = timings[name].duration()
		if s.Expected == 0 && s.Action == plan.ActionBuild {
			s.Expected = s.LastDuration
		}
		if s.Expected == 0 {
			s.Expected = hint.Time
		}
		s.Untimed = s.Expected == 0
		if !s.Untimed {
			known.Add(s.Expected)
		}
		if s.Memory = hint.Memory; s.Memory == 0 {
			s.Memory = timings[name].Peak
		}
	}
	for _, s := range steps {
		if s.Untimed {
			s.Expected = cmp.Or(known.Value(), defaultEstimate)
		}
	}
}

// Average is the mean of durations.
type Average struct {
	sum time.Duration
	n   int
}

// Add adds one duration.
func (a *Average) Add(d time.Duration) {
	a.sum += d
	a.n++
}

// Value returns the mean, 0 if nothing was added.
func (a *Average) Value() time.Duration { return a.sum / time.Duration(max(a.n, 1)) }

// defaultEstimate is used if no output of the tree was ever built here. StageX's 513
// outputs take 42 hours, most of which go into a few of them.
const defaultEstimate = time.Minute
