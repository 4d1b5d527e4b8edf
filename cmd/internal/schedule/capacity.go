package schedule

import (
	"cmp"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Capacity is what a schedule may use of the machine, and what is known of what
// builds need.
type Capacity struct {
	Jobs   int             // outputs built at once, a family counting once; 0: 1
	Memory int64           // bytes that they may need together, as far as that is known; 0: any
	Hints  map[string]Hint // by the name of an output, or of a definition for all of its
}

func (c Capacity) Slots() Slots { return Slots{jobs: max(c.Jobs, 1), memory: c.Memory} }

// Hint is what somebody says of a build.
type Hint struct {
	Memory int64         // bytes at its peak, whatever earlier builds needed; 0: nothing said
	Time   time.Duration // where no earlier build tells; 0: nothing said
}

// hint is about the output before it is about its definition.
func (c Capacity) hint(s *plan.Step) Hint {
	h := c.Hints[s.Output.Ref.String()]
	if d := s.Output.Definition; d != nil {
		of := c.Hints[d.Stage+"-"+d.Name]
		if h.Memory == 0 {
			h.Memory = of.Memory
		}
		if h.Time == 0 {
			h.Time = of.Time
		}
	}
	return h
}

// Knows reports that an output or a definition has the name, as in
// [Capacity.Hints].
func Knows(t *tree.Tree, name string) bool {
	if ref, err := graph.ParseRef(name); err == nil && (t.Graph.Output(ref) != nil || t.Graph.BrokenOutput(ref) != nil) {
		return true
	}
	return slices.ContainsFunc(t.Graph.Definitions(), func(d *graph.Definition) bool { return d.Stage+"-"+d.Name == name })
}

// EstimateSteps fills in how long each step should take and how much memory it should
// need: as its last build here did. Where there was none and nobody says, it
// guesses the average of what is known: the median would leave out the few that
// take most of the time.
func EstimateSteps(t *tree.Tree, steps []*plan.Step, c Capacity) {
	pasts := Timings(t)
	var known Average
	for _, s := range steps {
		if s.Action == plan.ActionPreseed {
			continue // it was had before anything starts
		}
		name, hint := s.Output.Ref.String(), c.hint(s)
		s.Expected = pasts[name].duration()
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
			s.Memory = pasts[name].Peak
		}
	}
	for _, s := range steps {
		if s.Untimed {
			s.Expected = cmp.Or(known.Value(), defaultEstimate)
		}
	}
}

// Average of durations.
type Average struct {
	sum time.Duration
	n   int
}

func (a *Average) Add(d time.Duration) {
	a.sum += d
	a.n++
}

// Value is 0 where nothing was added.
func (a *Average) Value() time.Duration { return a.sum / time.Duration(max(a.n, 1)) }

// defaultEstimate is for a tree of which nothing was ever built here: of StageX's
// 42 hours for 513 outputs, most go into a few.
const defaultEstimate = time.Minute
