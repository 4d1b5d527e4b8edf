// Package scheduletest records what a schedule does, for tests.
package scheduletest

import (
	"context"
	"slices"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/graph"
)

// Recorder records what a schedule does. Its zero value is ready to use.
type Recorder struct {
	// Events holds, in order, "start a", "end a", "skip b for a", and what a test adds.
	Events []string
	// Most is how many steps ran at once, at most.
	Most int

	mu      sync.Mutex
	running int
}

// Add appends an event. Delta is 1 if a step starts with it, -1 if one ends, or 0.
func (r *Recorder) Add(delta int, event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running += delta
	r.Most = max(r.Most, r.running)
	r.Events = append(r.Events, event)
}

// Has reports whether an event was added.
func (r *Recorder) Has(event string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.Events, event)
}

// Schedule returns a schedule with so many jobs. Its steps take no time; the outputs
// named in fails fail.
func (r *Recorder) Schedule(jobs int, fails ...string) *schedule.Schedule {
	return &schedule.Schedule{
		Slots: schedule.Capacity{Jobs: jobs}.Slots(),
		Stop:  func() bool { return false },
		Now:   time.Now,
		Do: func(_ context.Context, _ int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
			for _, s := range steps {
				name := s.Output.Ref.Name
				r.Add(1, "start "+name)
				r.Add(-1, "end "+name)
				ended(s, !slices.Contains(fails, name))
			}
			return false
		},
		Skip: func(s *plan.Step, cause graph.Ref) { r.Add(0, "skip "+s.Output.Ref.Name+" for "+cause.Name) },
	}
}
