package enginetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The first Ctrl-C lets the running build end and starts no other.
func TestInterruptOnce(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 2*time.Second)
	r := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	r.Cmd.Process.Signal(unix.SIGINT)
	r.Want(0)
	if tree.Digest("core-sleep") == "" {
		t.Error("what ran was not kept")
	}
}

// The second Ctrl-C cancels: no process of the step remains, and no partial output.
func TestInterruptTwice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sig  unix.Signal
		code int
	}{{unix.SIGINT, 130}, {unix.SIGTERM, 143}} {
		t.Run(fmt.Sprint(c.sig), func(t *testing.T) {
			tree, mark := newSleeper(t, time.Minute)
			r := tree.Start("build", "core-sleep")
			tree.Sleeping(mark)
			r.Cmd.Process.Signal(c.sig)
			if c.sig == unix.SIGINT {
				Until(t, patience, "sx says that it was interrupted", func() bool {
					return strings.Contains(r.Stderr.String(), "interrupted")
				})
				r.Cmd.Process.Signal(c.sig)
			}
			r.Want(c.code)
			Until(t, 5*time.Second, "the step is gone", func() bool { return len(Running(mark)) == 0 })
			tree.WantNothingLeft()
			if entries, err := os.ReadDir(tree.Path("out")); err == nil && len(entries) > 0 {
				t.Errorf("out/ holds %v", entries)
			}
		})
	}
}

// The third Ctrl-C ends sx at once, even if something runs; the engine notices.
func TestInterruptThrice(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	r := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	for _, answer := range []string{"nothing new starts; again to cancel", "cancelling; again to exit at once", ""} {
		r.Cmd.Process.Signal(unix.SIGINT)
		Until(t, patience, "sx says what the signal does", func() bool { return strings.Contains(r.Stderr.String(), answer) })
	}
	r.Want(130)
	tree.WantNothingLeft()
	if entries, err := os.ReadDir(tree.Path("out")); err == nil && len(entries) > 0 {
		t.Errorf("out/ holds %v", entries)
	}
}

// A dead engine is started again, and the build begins again.
func TestEngineKilledOnce(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 2*time.Second)
	r := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	tree.killEngine()
	r.Want(0)
	again := NewTree(t, programs, "", strings.NewReplacer("TIME", "2s", "MARK", mark).Replace(sleeper))
	again.Sx("build", "core-sleep")
	if a, b := tree.Digest("core-sleep"), again.Digest("core-sleep"); a != b || a == "" {
		t.Errorf("digest %s after a killed engine, %s without", a, b)
	}
}

// The remains of a killed engine fail no build of the next one.
func TestEngineKilledWithSnapshot(t *testing.T) {
	t.Parallel()
	tree, _ := newSleeper(t, 10*time.Millisecond)
	tree.Sx("build", "core-other")
	tree.killEngine()
	Until(t, patience, "the engine is gone", func() bool { return len(tree.Engines()) == 0 })
	snapshots, err := filepath.Glob(tree.Path(".sx/engine/state/*/*/snapshots/snapshots/*"))
	if err != nil || len(snapshots) == 0 {
		t.Fatalf("there is no snapshot (%v)", err)
	}
	next := 0
	for _, path := range snapshots {
		if n, err := strconv.Atoi(filepath.Base(path)); err == nil {
			next = max(next, n+1)
		}
	}
	left := filepath.Join(filepath.Dir(snapshots[0]), strconv.Itoa(next), "fs")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	tree.Sx("build", "core-sleep")
	if log := tree.Start("log", "core-sleep").Want(0).Stdout.String(); !strings.Contains(log, "file exists") {
		t.Errorf("nothing was in the way:\n%s", log)
	}
}

// An engine that dies at each try is one error, and leaves no output.
func TestEngineKilledAlways(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	r := tree.Start("build", "core-sleep")
	for r.during(func() bool { return len(Running(mark)) > 0 }) {
		tree.killEngine()
		Until(t, patience, "the step is gone with its engine", func() bool { return len(Running(mark)) == 0 })
	}
	r.Want(1)
	log := r.Stderr.String()
	if n := strings.Count(log, "sx: failed   core-sleep: the engine was lost: "); n != 1 || strings.Count(log, "sx: failed") != 1 {
		t.Errorf("not one clear error:\n%s", log)
	}
	if !strings.Contains(log, ", at each of 3 tries; sx engine logs ") {
		t.Errorf("no way out:\n%s", log)
	}
	if _, err := os.Stat(tree.Path("out/core-sleep")); err == nil {
		t.Error("there is an output")
	}
}

// A build that runs beside it succeeds.
func TestEngineKilledBeside(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	NewTree(t, programs, tree.Dir, strings.NewReplacer("/sleep/", "/calm/", `= "sleep"`, `= "calm"`, "TIME", "2s", "MARK", "calm").Replace(sleeper))
	r := tree.Start("build", "-k", "-j", "2", "core-sleep", "core-calm")
	for r.during(func() bool { return len(Running(mark)) > 0 }) {
		tree.killEngine()
		Until(t, patience, "the step is gone with its engine", func() bool { return len(Running(mark)) == 0 })
	}
	r.Want(1)
	log := r.Stderr.String()
	if strings.Count(log, "sx: failed") != 1 || !strings.Contains(log, "sx: failed   core-sleep: ") {
		t.Errorf("not one failure:\n%s", log)
	}
	if tree.Digest("core-calm") == "" {
		t.Errorf("core-calm was not built:\n%s", log)
	}
}

// killEngine kills the tree's engine. The other processes of its namespace die with
// it.
func (t *Tree) killEngine() {
	t.t.Helper()
	for _, pid := range t.Engines() {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// during polls until event returns true, and reports false if sx has ended.
func (r *Run) during(event func() bool) bool {
	for !event() {
		if r.ended() {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}

// ended reports whether sx has ended.
func (r *Run) ended() bool {
	var st unix.Siginfo
	return unix.Waitid(unix.P_PID, r.Cmd.Process.Pid, &st, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != nil || st.Signo != 0
}
