package build

import (
	"os"
	"path/filepath"
	"time"
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
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if s.Action != ActionBuild {
			continue
		}
		for _, src := range s.Output.Definition.Sources {
			if _, err := os.Lstat(filepath.Join(t.Dir, filepath.FromSlash(src.Path))); err != nil {
				seen[src.Path] = true
			}
		}
	}
	return len(seen)
}
