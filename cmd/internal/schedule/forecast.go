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

// Forecast is how long a plan should take, as long as each output's last build
// here did.
type Forecast struct {
	Work     time.Duration // of all builds together
	Longest  time.Duration // of the longest path, below which nothing gets it
	Estimate time.Duration // with that capacity
	Untimed  int           // steps that were never built here: the average stands for them
	Fetch    int           // sources that are not in fetch/
}

// NewForecast plays p as the schedule would run it, and fills in what each of its
// steps should take.
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

// missingSources counts the sources of what will be built that are not there. Whether the
// others are what they should be is seen when they are needed.
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
