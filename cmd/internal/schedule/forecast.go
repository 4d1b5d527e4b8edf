package schedule

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Forecast says how long a plan should take if each build takes as long as the last
// one of its output here.
type Forecast struct {
	Work     time.Duration // of all builds together
	Longest  time.Duration // of the longest path: no capacity makes the plan shorter
	Estimate time.Duration // with the given capacity
	Untimed  int           // steps that were never built here and count as the average
	Fetch    int           // sources that are not in fetch/
}

// NewForecast simulates a run of p, and sets what [EstimateSteps] sets in its steps.
func NewForecast(t *tree.Tree, p *plan.Plan, c Capacity) Forecast {
	EstimateSteps(t, p.Steps, c)
	plan.Family(p.Steps)
	s := &Schedule{Slots: c.Slots()}
	s.Prepare(p.Steps, nil)
	f := Forecast{Estimate: s.remaining(0)}
	for _, u := range s.Units {
		f.Work += u.expected
		f.Longest = max(f.Longest, u.height)
	}
	for _, step := range p.Steps {
		if step.Action == plan.ActionBuild && step.Untimed {
			f.Untimed++
		}
	}
	f.Fetch = missingSources(t, p)
	return f
}

// missingSources counts the sources of the steps to be built that fetch/ does not have.
// It does not hash the others: a build does.
func missingSources(t *tree.Tree, p *plan.Plan) int {
	seen := map[*graph.Definition]bool{}
	var paths []string
	for _, s := range p.Steps {
		if d := s.Output.Definition; s.Action == plan.ActionBuild && !seen[d] {
			seen[d] = true
			for _, src := range d.Sources {
				paths = append(paths, src.Path)
			}
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths) // two may name one file
	var absent atomic.Int64
	tree.Parallel(len(paths), func(i int) {
		if _, err := os.Lstat(filepath.Join(t.Dir, filepath.FromSlash(paths[i]))); err != nil {
			absent.Add(1)
		}
	})
	return int(absent.Load())
}
