package enginetest

import (
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// publish builds and publishes the outputs of a tree to a registry that sx asks then.
func (t *Tree) publish() {
	t.t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	t.Sx("build", "--all")
	t.mkdir("digests")
	t.Sx("digests", "--write", "--all")
	t.Sx("push", "--all", "--to", host+"/stagex")
	t.Env = append(t.Env, "SX_REGISTRIES_HOSTS="+host)
	t.must(os.RemoveAll(t.Path("out")))
}

// kill -9 of sx at any point of a reproduction, sometimes with its engine: the same
// command goes on, nothing that was reproduced is built again, the verdicts are the same,
// and nothing is left behind.
func TestKillReproduce(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	tree.publish()
	killed, finished := 0, 0
	for round := range 9 {
		r := tree.Start("reproduce", "--all", "-j", "2")
		soonest := time.Now().Add(rand.N(300 * time.Millisecond))
		if !r.during(func() bool {
			return time.Now().After(soonest) && strings.Count(r.Stderr.String(), ": built in ") >= round%3
		}) {
			r.Want(0)
			break
		}
		killed++
		r.Cmd.Process.Kill()
		r.Wait()
		if round%3 == 2 {
			tree.killEngine()
		}
		records, _ := filepath.Glob(tree.Path(".sx/reproduce/built/.sx/records/*"))
		if len(records) < finished {
			t.Fatalf("round %d: %d outputs are reproduced, before it were %d", round, len(records), finished)
		}
		finished = len(records)
	}
	last := tree.Start("reproduce", "--all").Want(0)
	for _, want := range []string{sixteen, "proven by induction: 16 outputs"} {
		if out := last.Stdout.String(); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if built := strings.Count(last.Stderr.String(), ": built in "); built > 16-finished {
		t.Errorf("%d outputs were built after %d were finished:\n%s", built, finished, &last.Stderr)
	}
	if killed == 0 || finished == 0 {
		t.Errorf("killed %d times, %d outputs finished by then", killed, finished)
	}
	tree.wantReproducedOnly()
}

// kill -9 in the middle of a varied run leaves nothing that the next one does not remove.
func TestKillVaried(t *testing.T) {
	t.Parallel()
	tree := newVaried(t, "")
	tree.wantKilledVaried()
}

// wantKilledVaried kills a varied run, with its engine and without.
func (t *Tree) wantKilledVaried() {
	t.t.Helper()
	t.Sx("build", "--all")
	t.Sx("digests", "--write", "--all")
	for _, engine := range []bool{false, true} {
		r := t.Start("reproduce", "--all", "--vary", "umask,kernel")
		Until(t.t, patience, "a varied build runs", func() bool {
			_, second, varied := strings.Cut(r.Stderr.String(), "run 2 of 2")
			return varied && strings.Contains(second, ": building: ")
		})
		r.Cmd.Process.Kill()
		r.Wait()
		if engine {
			t.killEngine()
		}
		t.WantNothingLeft()
		if said := t.Sx("reproduce", "--all"); !strings.Contains(said, "4 outputs: 4 MATCH") {
			t.t.Errorf("after a killed varied run:\n%s", said)
		}
		t.wantReproducedOnly()
	}
}

// wantReproducedOnly checks that sx reproduce left no engine and no temporary folder.
func (t *Tree) wantReproducedOnly() {
	t.t.Helper()
	t.WantNothingLeft()
	for _, pattern := range []string{".sx/reproduce/*/.sx/engine/*", ".sx/reproduce/*/.sx/tmp/*", ".sx/tmp/*"} {
		if left, _ := filepath.Glob(t.Path(pattern)); len(left) > 0 {
			t.t.Errorf("left behind: %q", left)
		}
	}
}

// An engine elsewhere reproduces too: each verdict names it, and an engine that is lost in
// the middle ends the run with one error, after which the same command goes on. It cannot
// vary anything.
func TestReproduceElsewhere(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	tree.publish()
	r := newRemote(t, tree)
	r.Env = append(r.Env, "SX_ENGINE_RECONNECT=1s")
	run := r.Start("reproduce", "--all", "-j", "1")
	Until(t, patience, "an output is built", func() bool { return strings.Contains(run.Stderr.String(), "bootstrap-seed: built in ") })
	r.proxy.Cut(true)
	run.Want(6)
	r.proxy.Mend()
	last := r.Start("reproduce", "--all").Want(0)
	for _, want := range []string{"16 outputs: 16 MATCH (16 of them on tcp)\n", "proven by induction: 16 outputs, ", "; and on the word of the engine elsewhere, on tcp\n"} {
		if !strings.Contains(last.Stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &last.Stdout)
		}
	}
	if strings.Contains(last.Stderr.String(), "bootstrap-seed: built") {
		t.Errorf("an output that was reproduced is built again:\n%s", &last.Stderr)
	}
	r.Start("reproduce", "--all", "--vary", "umask").Want(2)
}
