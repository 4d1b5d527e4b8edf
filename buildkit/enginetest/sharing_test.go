package enginetest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Two sx of one build share the engine.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	a, b := tree.Start("build", "--all"), tree.Start("build", "--all")
	most := 0
	a.during(func() bool {
		most = max(most, len(tree.Engines()))
		return false
	})
	for _, r := range []*Run{a, b} {
		if out := r.Want(0).Stdout.String(); !strings.Contains(out, sixteen) {
			t.Errorf("not all match:\n%s", out)
		}
	}
	if most != 1 {
		t.Errorf("%d engines at once", most)
	}
}

// The second sx attaches to the engine of the first and ends before it.
func TestSecondAttaches(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	first := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	engines := tree.Engines()
	tree.Sx("build", "core-other")
	if after := tree.Engines(); len(engines) != 1 || len(after) != 1 || engines[0] != after[0] {
		t.Errorf("engines %v, then %v: want the same one", engines, after)
	}
	first.Cmd.Process.Kill()
	first.Wait()
	tree.WantNothingLeft()
}

// An sx waits for an output that another builds, says for whom, and reuses it.
func TestSecondTakesTheResult(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 3*time.Second)
	first := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	second := tree.Start("build", "core-sleep")
	third := tree.Start("build", "core-sleep")
	waits := fmt.Sprintf("waiting: another sx (process %d) is making core-sleep", first.Cmd.Process.Pid)
	Until(t, patience, "the second one waits", func() bool { return strings.Contains(second.Stderr.String(), waits) })
	Until(t, patience, "the third one waits", func() bool { return strings.Contains(third.Stderr.String(), waits) })
	third.Cmd.Process.Signal(unix.SIGINT) // it has nothing running that could finish
	third.Want(130)
	first.Want(0)
	if log := second.Want(0).Stderr.String(); !strings.Contains(log, "0 built") || !strings.Contains(log, ", 1 reused") {
		t.Errorf("the second one did not take the first one's:\n%s", log)
	}
	if logs, _ := filepath.Glob(tree.Path(".sx/logs/core-sleep/*")); len(logs) != 1 {
		t.Errorf("built %d times", len(logs))
	}
}

// Waiting for an output that another sx builds takes no job.
func TestWaitTakesNoSlot(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	first := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	second := tree.Start("build", "--all", "-j", "1")
	Until(t, patience, "the other output is built", func() bool {
		return strings.Contains(second.Stderr.String(), "core-other: built")
	})
	for _, r := range []*Run{first, second} {
		r.Cmd.Process.Kill()
		r.Wait()
	}
	tree.WantNothingLeft()
}

// If an sx that is waited for ends, the other builds the output itself.
func TestOneOfTwoIsKilled(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 4*time.Second)
	first := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	second := tree.Start("build", "core-sleep")
	Until(t, patience, "the second one waits", func() bool {
		return strings.Contains(second.Stderr.String(), "is making core-sleep")
	})
	first.Cmd.Process.Kill()
	first.Wait()
	if log := second.Want(0).Stderr.String(); !strings.Contains(log, "1 built") {
		t.Errorf("the second one built nothing:\n%s", log)
	}
}

// An sx of another build waits for the engine, says so, and then builds.
func TestOtherBuildWaits(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 4*time.Second)
	first := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	second := tree.StartWith(programs.OtherSx(), "build", "core-other")
	Until(t, patience, "the other build says that it waits", func() bool {
		return strings.Contains(second.Stderr.String(), "another build")
	})
	if second.Cmd.ProcessState != nil || len(Running(mark)) == 0 {
		t.Error("it did not wait for the first one")
	}
	first.Want(0)
	second.Want(0)
}

// An sx that waits so has no running build that a Ctrl-C would let finish.
func TestOtherBuildInterrupted(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	first := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	second := tree.StartWith(programs.OtherSx(), "build", "core-other")
	Until(t, patience, "the other build says that it waits", func() bool {
		return strings.Contains(second.Stderr.String(), "another build")
	})
	second.Cmd.Process.Signal(unix.SIGINT)
	second.Want(130)
	if len(Running(mark)) == 0 {
		t.Error("it waited for the first one to end")
	}
	first.Cmd.Process.Kill()
	first.Wait()
}
