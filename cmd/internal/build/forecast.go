package build

import "time"

// Forecast is how long a plan should take, as long as each output's last build
// here did.
type Forecast struct {
	Work     time.Duration // of all builds together
	Longest  time.Duration // of the longest path, below which nothing gets it
	Estimate time.Duration // with the jobs asked for
	Guessed  int           // steps that were never built here: a median stands for them
}

// Forecast plays p as the schedule would run it, and fills in what each of its
// steps should take.
func (t *Tree) Forecast(p *Plan, jobs int) Forecast {
	t.expect(p.Steps)
	family(p.Steps)
	s := &schedule{jobs: max(jobs, 1)}
	s.prepare(p.Steps, nil)
	f := Forecast{Estimate: s.remaining(time.Time{})}
	for _, u := range s.units {
		f.Work += u.expected
		f.Longest = max(f.Longest, u.height)
	}
	for _, step := range p.Steps {
		if step.Action == ActionBuild && step.Guessed {
			f.Guessed++
		}
	}
	return f
}
