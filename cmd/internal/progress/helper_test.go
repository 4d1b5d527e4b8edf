package progress_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
)

const mib = 1 << 20

// env is Getenv over "NAME=value" pairs; nothing of the real environment.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if value, ok := strings.CutPrefix(p, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// output is a writer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// take is what came since the last take, in a synctest bubble.
func (o *output) take() string {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.buf.Reset()
	return o.buf.String()
}

func open(t *testing.T, w interface{ Write([]byte) (int, error) }, opts progress.Options) *progress.Display {
	t.Helper()
	if opts.Getenv == nil {
		opts.Getenv = env()
	}
	d, err := progress.New(w, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// pass lets time go by in a synctest bubble and everything due by then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func source(name string) fetch.Source {
	return fetch.Source{Name: "core/" + name + ": " + name, Path: "fetch/core/" + name + "/" + name + ".tar"}
}

func step(name, reason string) *plan.Step {
	return &plan.Step{Output: &graph.Output{Ref: graph.Ref{Stage: "core", Name: name}}, Reason: reason, Action: plan.ActionBuild}
}

// planOf is one of n steps of which nobody asks the names.
func planOf(n int) *plan.Plan {
	p := new(plan.Plan)
	for i := range n {
		p.Steps = append(p.Steps, step(fmt.Sprint("p", i), "not built yet"))
	}
	return p
}

func digest(t *testing.T, digit string) oci.Digest {
	t.Helper()
	d, err := oci.ParseDigest("sha256:" + strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// end is how step s ended with outcome o.
func end(s *plan.Step, o plan.Outcome, elapsed time.Duration) driver.Result {
	return driver.Result{Ref: s.Output.Ref, Outcome: o, Elapsed: elapsed}
}

// logOf writes a log of n lines.
func logOf(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i+1)
	}
	path := filepath.Join(t.TempDir(), "build.log")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// play is a run with a bit of everything, about two minutes long.
func play(t *testing.T, d *progress.Display, log string) {
	t.Helper()
	d.Run("20000101T000000.000Z-0a1b2c", "sx build --all", "v1.2.3")
	playFetch(d.Sources())
	libc, gcc, rust, zlib, bash := step("libc", "not built yet"), step("gcc", "core-libc will be built"), step("rust", "core-gcc will be built"), step("zlib", "core-libc will be built"), step("bash", "not built yet")
	gcc.Because = libc.Output.Ref
	libc.Expected, gcc.Expected, gcc.Untimed = 80*time.Second, time.Minute, true
	llvm := familyOf("llvm", "clang", "lld")
	kept := &plan.Step{Output: &graph.Output{Ref: graph.Ref{Stage: "core", Name: "musl"}, Deps: []graph.Ref{zlib.Output.Ref}}, Action: plan.ActionNone, Substituted: true, LastDuration: time.Minute}
	gcc.Output.Deps, gcc.LastDuration, gcc.Memory = []graph.Ref{libc.Output.Ref}, 55*time.Second, 3*mib
	gcc.Engine = "big"
	gcc.Waited = plan.Waited{Depends: 65 * time.Second, Downloads: 3 * time.Second, Lock: 2 * time.Second, Job: time.Second}
	d.Waiting("another sx runs the engine")
	d.Begin(&plan.Plan{Engine: "ssh://builder", Steps: append([]*plan.Step{libc, gcc, rust, zlib, bash, kept}, llvm...)})
	d.Start(libc)
	d.Estimate(150 * time.Second)
	d.Progress(libc, "[2/3] RUN make")
	pass(65 * time.Second)
	d.Finish(libc, driver.Result{Ref: libc.Output.Ref, Outcome: plan.Built, Elapsed: 65 * time.Second, Digest: digest(t, "a"), Solved: time.Minute, Committed: 2 * time.Second, Memory: 5 * mib, Size: 7 * mib})
	d.Start(gcc)
	d.Start(llvm[0])
	d.Start(llvm[1])
	d.Progress(llvm[1], "[linux/amd64 build 1/2] RUN cmake")
	pass(2 * time.Second)
	d.Finish(gcc, driver.Result{Ref: gcc.Output.Ref, Outcome: plan.Failed, Elapsed: 2 * time.Second, Err: &buildkit.BuildError{Ref: gcc.Output.Ref, File: "packages/core/gcc/Containerfile", Line: 7, Err: errors.New("exit code: 1")}, Log: log})
	d.Finish(rust, driver.Result{Ref: rust.Output.Ref, Outcome: plan.Skipped, Cause: gcc.Output.Ref})
	d.Finish(zlib, driver.Result{Ref: zlib.Output.Ref, Outcome: plan.Unchanged, Digest: digest(t, "b")})
	d.Finish(bash, driver.Result{Ref: bash.Output.Ref, Outcome: plan.Reused, Digest: digest(t, "c"), Hub: "registry.example/hub"})
	pass(58 * time.Second)
	d.Finish(llvm[0], driver.Result{Ref: llvm[0].Output.Ref, Outcome: plan.Built, Elapsed: time.Minute, Digest: digest(t, "d")})
	d.Interrupted()
	d.Finish(llvm[1], driver.Result{Ref: llvm[1].Output.Ref, Outcome: plan.NotRun, Err: errors.New("interrupted")})
	d.Warn("the disk is nearly full")
	d.Cancelled(errors.New("interrupted"))
}

// familyOf is outputs of one definition, an hour long.
func familyOf(definition string, names ...string) []*plan.Step {
	d := &graph.Definition{Stage: "core", Name: definition}
	var all []*plan.Step
	for _, name := range names {
		s := step(name, "its definition changed")
		s.Output.Definition, s.Expected = d, time.Hour
		s.Request.Platforms = []string{"linux/amd64"}
		all = append(all, s)
	}
	for _, s := range all {
		s.Family = all
	}
	return all
}

func playFetch(f fetch.Status) {
	zlib, gcc, musl := source("zlib"), source("gcc"), source("musl")
	f.Begin(3)
	f.Done(zlib, fetch.Present)
	f.Start(gcc, "https://one.example/gcc.tar", 0, -1)
	f.Fail(gcc, "https://one.example/gcc.tar", errors.New("no progress for 30s"))
	f.Start(gcc, "https://two.example/gcc.tar", 0, 40*mib)
	for done := int64(5 * mib); done <= 20*mib; done += 5 * mib {
		pass(2600*time.Millisecond + time.Microsecond) // never at the very time of a tick
		f.Advance(gcc, done, 40*mib)
	}
	pass(2 * time.Second)
	f.Advance(gcc, 40*mib, 40*mib)
	f.Done(gcc, fetch.Fetched)
	f.Fail(musl, "", fetch.Failure{Source: musl, Attempts: transfer.Attempts{{Place: "https://m.example/", Reason: errors.New("HTTP status 404")}}})
	f.End()
}
