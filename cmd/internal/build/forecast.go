package build

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"codeberg.org/stagex/sx/graph"
)

// Forecast is how long a plan should take, as long as each output's last build
// here did.
type Forecast struct {
	Work     time.Duration // of all builds together
	Longest  time.Duration // of the longest path, below which nothing gets it
	Estimate time.Duration // with that capacity
	Guessed  int           // steps that were never built here: the average stands for them
	Fetch    int           // sources that are not in fetch/
}

// Forecast plays p as the schedule would run it, and fills in what each of its
// steps should take.
func (t *Tree) Forecast(p *Plan, c Capacity) Forecast {
	t.expect(p.Steps, c)
	family(p.Steps)
	s := &schedule{slots: c.slots()}
	s.prepare(p.Steps, nil)
	f := Forecast{Estimate: s.remaining(0)}
	for _, u := range s.units {
		f.Work += u.expected
		f.Longest = max(f.Longest, u.height)
	}
	for _, step := range p.Steps {
		if step.Action == ActionBuild && step.Guessed {
			f.Guessed++
		}
	}
	f.Fetch = t.absent(p)
	return f
}

// absent counts the sources of what will be built that are not there. Whether the
// others are what they should be is seen when they are needed.
func (t *Tree) absent(p *Plan) int {
	seen := map[*graph.Definition]bool{}
	var paths []string
	for _, s := range p.Steps {
		if d := s.Output.Definition; s.Action == ActionBuild && !seen[d] {
			seen[d] = true
			for _, src := range d.Sources {
				paths = append(paths, src.Path)
			}
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths) // two may name one file
	var absent atomic.Int64
	parallel(len(paths), func(i int) {
		if _, err := os.Lstat(filepath.Join(t.Dir, filepath.FromSlash(paths[i]))); err != nil {
			absent.Add(1)
		}
	})
	return int(absent.Load())
}
