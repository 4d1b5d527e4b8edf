package progress

import (
	"fmt"
	"io"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/graph"
)

// busy is a display with so many steps, of which some run. Its ticker does not
// matter: the benchmarks tick.
func busy(b *testing.B, mode Mode, steps, running int) (*Display, []*plan.Step) {
	now := time.Unix(0, 0)
	d, err := New(io.Discard, Options{
		Mode: mode, Getenv: func(string) string { return "" },
		Now:  func() time.Time { now = now.Add(time.Second); return now }, // so that each paint differs
		Size: func() (int, int, bool) { return 160, 80, true },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.Close)
	p := new(plan.Plan)
	for i := range steps {
		ref := graph.Ref{Stage: "core", Name: fmt.Sprint("package-", i)}
		p.Steps = append(p.Steps, &plan.Step{Output: &graph.Output{Ref: ref}, Action: plan.ActionBuild, Expected: time.Hour})
	}
	d.Begin(p)
	for _, s := range p.Steps[:running] {
		d.Start(s)
		d.Progress(s, "[linux/amd64 build 7/9] RUN make -j$(nproc) && make install DESTDIR=/rootfs")
	}
	return d, p.Steps[:running]
}

// BenchmarkEvent is what an event costs the run.
func BenchmarkEvent(b *testing.B) {
	for _, mode := range []Mode{Plain, TTY, RawJSON} {
		for _, size := range [][2]int{{513, 64}, {50000, 64}, {50000, 1000}} {
			b.Run(fmt.Sprintf("%s/steps=%d/running=%d", mode, size[0], size[1]), func(b *testing.B) {
				d, running := busy(b, mode, size[0], size[1])
				for i := 0; b.Loop(); i++ {
					d.Progress(running[i%len(running)], "[linux/amd64 build 8/9] RUN make check")
				}
			})
		}
	}
}

// BenchmarkPaint is what a paint costs, of which there are ten a second at most.
func BenchmarkPaint(b *testing.B) {
	for _, size := range [][2]int{{513, 64}, {50000, 1000}} {
		b.Run(fmt.Sprintf("steps=%d/running=%d", size[0], size[1]), func(b *testing.B) {
			d, _ := busy(b, TTY, size[0], size[1])
			d.view.(*tty).idle = func() bool { return true }
			for b.Loop() {
				d.tick()
			}
		})
	}
}
