package driver

import (
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
)

// rememberBuild notes what the build of s took and needed.
func (r *run) rememberBuild(s *plan.Step, took time.Duration, img *buildkit.Image) {
	p := schedule.Past{Output: s.Output.Ref.String(), Seconds: took.Seconds(), Peak: img.Peak}
	if s.Guessed {
		r.mu.Lock()
		r.unknown.Add(took)
		r.mu.Unlock()
	}
	if img.Cached && !s.Guessed {
		p.Seconds = max(p.Seconds, s.Expected.Seconds())
		p.Peak = max(p.Peak, s.Memory)
	}
	schedule.Remember(r.Tree, p)
}
