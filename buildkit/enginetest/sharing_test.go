package enginetest

import (
	"strings"
	"testing"
	"time"
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

// The second one attaches to the engine of the first and ends before it.
func TestSecondAttaches(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	first := tree.Start("build", "core-sleep")
	tree.sleeping(mark)
	engines := tree.Engines()
	tree.Sx("build", "core-other")
	if after := tree.Engines(); len(engines) != 1 || len(after) != 1 || engines[0] != after[0] {
		t.Errorf("engines %v, then %v: want the same one", engines, after)
	}
	first.Cmd.Process.Kill()
	first.Wait()
	tree.WantNothingLeft()
}

// The end of one sx leaves the builds of another alone.
func TestOneOfTwoIsKilled(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 4*time.Second)
	first := tree.Start("build", "core-sleep")
	tree.sleeping(mark)
	second := tree.Start("build", "core-sleep")
	Until(t, patience, "the second one builds", func() bool {
		return strings.Contains(second.Stderr.String(), "core-sleep: building")
	})
	first.Cmd.Process.Kill()
	first.Wait()
	second.Want(0)
}

// An sx of another build waits for the engine, says so, and then builds.
func TestOtherBuildWaits(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, 4*time.Second)
	first := tree.Start("build", "core-sleep")
	tree.sleeping(mark)
	second := tree.StartWith(programs.OtherSx(), "build", "core-other")
	Until(t, patience, "the other build says that it waits", func() bool {
		return strings.Contains(second.Stderr.String(), "another build")
	})
	if second.Cmd.ProcessState != nil || len(running(mark)) == 0 {
		t.Error("it did not wait for the first one")
	}
	first.Want(0)
	second.Want(0)
}
