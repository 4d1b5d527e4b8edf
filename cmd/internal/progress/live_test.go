package progress_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/graph"
)

// night is the middle of a run.
func night(d *progress.Display) {
	p := &plan.Plan{Steps: []*plan.Step{step("gcc", ""), step("a-name-that-is-rather-long", ""), {Output: &graph.Output{Ref: graph.Ref{Stage: "core", Name: "kept"}}, Action: plan.ActionNone}}}
	p.Steps[0].Expected, p.Steps[1].Expected, p.Steps[1].Untimed = 40*time.Minute, 3*time.Hour, true
	p.Steps[0].Request.Platforms = []string{"linux/amd64"}
	llvm := familyOf("llvm", "clang", "lld", "llvm")
	p.Steps = append(p.Steps, llvm...)
	p.Steps = append(p.Steps, planOf(20).Steps...)
	d.Begin(p)
	d.Start(p.Steps[0])
	d.Progress(p.Steps[0], "[linux/amd64 build 7/9] RUN make -j$(nproc)")
	for _, s := range llvm {
		d.Start(s)
	}
	d.Progress(llvm[1], "[linux/amd64 build 4/12] RUN cmake -S llvm -B build -G Ninja -DCMAKE_BUILD_TYPE=Release")
	pass(12*time.Minute + 5*time.Second)
	d.Start(p.Steps[1])
	f := d.Sources()
	f.Begin(9)
	f.Start(source("rust"), "https://one.example/", 10*mib, 40*mib)
	d.Finish(p.Steps[6], end(p.Steps[6], plan.Unchanged, 0))
	d.Finish(p.Steps[7], driver.Result{Ref: p.Steps[7].Output.Ref, Outcome: plan.Failed, Err: errors.New("exit code: 2")})
	d.Estimate(9*time.Hour + 40*time.Minute)
}

func TestTTYNight(t *testing.T) {
	var b strings.Builder
	for _, size := range [][2]int{{100, 24}, {80, 24}, {60, 6}, {40, 24}, {20, 24}, {20, 3}, {20, 2}, {20, 1}} {
		onTerminal(t, size[0], size[1], func(t *testing.T, d *terminal) {
			night(d.Display)
			fmt.Fprintf(&b, "== %d columns, %d rows\n%s", size[0], size[1], d.see(time.Second))
		})
	}
	golden(t, "night.txt", b.String())
}

// The time left runs down by itself, and a member that ends leaves its family.
func TestTTYTimeGoesOn(t *testing.T) {
	onTerminal(t, 80, 20, func(t *testing.T, d *terminal) {
		llvm := familyOf("llvm", "clang", "lld", "llvm")
		d.Begin(&plan.Plan{Steps: llvm})
		for _, s := range llvm {
			d.Start(s)
		}
		d.Estimate(70 * time.Second)
		want(t, d.see(100*time.Millisecond), "core-llvm (3 outputs)      0s / ~1h00m\n0/3 done | 0s | ~1m10s left\n")
		want(t, d.see(20*time.Second), "core-llvm (3 outputs)     20s / ~1h00m\n0/3 done | 20s | ~50s left\n")
		d.Finish(llvm[0], end(llvm[0], plan.Unchanged, 0))
		d.Finish(llvm[1], end(llvm[1], plan.Unchanged, 0))
		saved := "core-clang: unchanged, its dependencies kept their digests (1/3)\ncore-lld: unchanged, its dependencies kept their digests (2/3)\n"
		want(t, d.see(40*time.Second), saved+"core-llvm    1m0s / ~1h00m\n2/3 done, 2 unchanged | 1m0s | ~10s left\n")
		want(t, d.see(time.Minute), saved+"core-llvm    2m0s / ~1h00m\n2/3 done, 2 unchanged | 2m0s | later than estimated\n")
		d.Interrupted()
		want(t, d.see(100*time.Millisecond), saved+
			"interrupted: running builds finish, nothing new starts; again to cancel them\n"+
			"core-llvm    2m0s / ~1h00m\n2/3 done, 2 unchanged | 2m0s | finishing 1 output, Ctrl-C cancels\n")
	})
}

func TestTTYSkipsInOneLine(t *testing.T) {
	onTerminal(t, 80, 20, func(t *testing.T, d *terminal) {
		p := planOf(9)
		d.Begin(p)
		skip := func(from, to, cause int) {
			for _, s := range p.Steps[from:to] {
				d.Finish(s, driver.Result{Ref: s.Output.Ref, Outcome: plan.Skipped, Cause: p.Steps[cause].Output.Ref})
			}
		}
		skip(0, 4, 8)
		skip(4, 5, 7)
		d.Warn("w")
		skip(5, 7, 8)
		d.Close()
		want(t, d.see(0), "4 outputs: skipped, because core-p8 failed\ncore-p4: skipped, because core-p7 failed\n"+
			"warning: w\n2 outputs: skipped, because core-p8 failed\n")
	})
}

// Whoever stops sx (Ctrl-Z) gets a shell below the live lines; what it wrote stays.
func TestTTYIsStoppedAndResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out, resumed := newScreen(t, 60, 20), new(output), make(chan os.Signal, 1)
		d := open(t, out, progress.Options{Mode: progress.TTY, Size: s.size, Resumed: resumed})
		d.Begin(planOf(9))
		d.Start(step("gcc", ""))
		pass(1050 * time.Millisecond)
		s.write(out.take() + "^Z\n$ fg\n")
		resumed <- syscall.SIGCONT
		pass(time.Second)
		s.write(out.take())
		want(t, s.text(), "core-gcc      1s\n0/9 done | 1s\n^Z\n$ fg\ncore-gcc      2s\n0/9 done | 2s\n")
	})
}

// In the background the terminal is the shell's: lines that stay come, live ones
// do not.
func TestTTYInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var foreground atomic.Bool
		foreground.Store(true)
		s, out := newScreen(t, 60, 20), new(output)
		d := open(t, out, progress.Options{Mode: progress.TTY, Size: s.size, Foreground: foreground.Load})
		d.Begin(planOf(9))
		d.Start(step("gcc", ""))
		pass(1050 * time.Millisecond)
		foreground.Store(false)
		s.write(out.take() + "$ ls\n")
		d.Warn("w")
		pass(time.Second)
		s.write(out.take() + "$ fg\n")
		shown := "core-gcc      1s\n0/9 done | 1s\n$ ls\nwarning: w\n$ fg\n"
		want(t, s.text(), shown)
		foreground.Store(true)
		pass(time.Second)
		s.write(out.take())
		want(t, s.text(), shown+"core-gcc      3s\n0/9 done | 3s\n")
		foreground.Store(false)
		d.Close()
		s.write(out.take())
		want(t, s.text(), shown+"core-gcc      3s\n0/9 done | 3s\n")
	})
}

// A run does not wait for whoever reads: Ctrl-S, a pipe that is full.
func TestNoReaderStopsTheRun(t *testing.T) {
	for _, mode := range []progress.Mode{progress.Plain, progress.TTY, progress.Quiet, progress.RawJSON} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &valve{open: make(chan struct{})}
				d := open(t, w, progress.Options{Mode: mode, Size: func() (int, int, bool) { return 80, 24, true }})
				p := planOf(1000)
				d.Begin(p)
				for _, s := range p.Steps {
					d.Start(s)
					d.Finish(s, driver.Result{Ref: s.Output.Ref, Outcome: plan.Failed, Err: errors.New("last words")})
					pass(time.Second)
				}
				close(w.open)
				d.Close()
				got := w.out.take()
				failures := strings.Count(got, ": failed after ") + strings.Count(got, `"outcome":"failed"`)
				if !strings.Contains(got, "core-p999") || failures != 1000 {
					t.Errorf("the reader that came back got %d of 1000 failures", failures)
				}
			})
		})
	}
}

// Whatever order things happen in, counts only go up.
func TestCountsNeverGoBack(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			out := new(output)
			d := open(t, out, progress.Options{Mode: progress.RawJSON})
			last := map[string]int{}
			for range 200 {
				happen(r, d)
				for line := range strings.Lines(out.take()) {
					e := decode(t, line)
					for _, field := range strings.Fields("done saved failed skipped steps fetched present") {
						n, ok := e[field].(interface{ Int64() (int64, error) })
						if !ok {
							continue
						}
						count, _ := n.Int64()
						key := strings.Split(e["event"].(string), "_")[0] + " " + field
						if e["event"] != "build_begin" && int(count) < last[key] {
							t.Fatalf("%s went from %d to %d: %s", key, last[key], count, line)
						}
						last[key] = int(count)
					}
				}
			}
		})
	}
}

func happen(r *rand.Rand, d *progress.Display) {
	s, src := step(fmt.Sprint("s", r.IntN(9)), ""), source(fmt.Sprint("s", r.IntN(9)))
	outcomes := []plan.Outcome{plan.Built, plan.Unchanged, plan.Reused, plan.Failed, plan.Skipped, plan.NotRun}
	f := d.Sources()
	[]func(){
		func() { d.Begin(planOf(r.IntN(9))) },
		func() { d.Start(s) },
		func() { d.Progress(s, "RUN x") },
		func() { d.Finish(s, end(s, outcomes[r.IntN(len(outcomes))], 0)) },
		func() { d.Estimate(time.Duration(r.IntN(1000)) * time.Second) },
		func() { f.Begin(r.IntN(9)) },
		func() { f.Start(src, "m", 1, 2) },
		func() { f.Done(src, "fetched") },
		func() { f.Fail(src, "", errors.New("x")) },
		func() { f.End() },
		func() { pass(time.Second) },
	}[r.IntN(11)]()
}
