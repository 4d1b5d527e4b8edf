package driver

import (
	"context"
	"slices"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/graph"
)

// ran is what a schedule did, in order: "start a", "end a", "skip b for a".
type ran struct {
	mu     sync.Mutex
	events []string
	now    int
	most   int
	images func(context.Context, *plan.Step) error // see prefetcher
}

func (r *ran) add(delta int, event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now += delta
	r.most = max(r.most, r.now)
	r.events = append(r.events, event)
}

func (r *ran) schedule(jobs int, fails ...string) *schedule.Schedule {
	return &schedule.Schedule{
		Slots: schedule.Capacity{Jobs: jobs}.Slots(),
		Stop:  func() bool { return false },
		Now:   time.Now,
		Do: func(_ context.Context, steps []*plan.Step, ended func(*plan.Step, bool)) {
			for _, s := range steps {
				name := s.Output.Ref.Name
				r.add(1, "start "+name)
				r.add(-1, "end "+name)
				ended(s, !slices.Contains(fails, name))
			}
		},
		Skip: func(s *plan.Step, cause graph.Ref) { r.add(0, "skip "+s.Output.Ref.Name+" for "+cause.Name) },
	}
}
