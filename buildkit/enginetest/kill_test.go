package enginetest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache"
)

const chain = `
-- packages/core/a/package.toml --
[package]
name = "a"
version = "1"
SOURCES
-- packages/core/a/Containerfile --
FROM scratch
COPY tool /
COPY --from=fetch . /src
RUN --network=none ["/tool", "mkdir", "/x", ",", "sleep", "100ms", "a"]
-- packages/core/b/package.toml --
[package]
name = "b"
version = "1"
-- packages/core/b/Containerfile --
FROM stagex/core-a
RUN --network=none ["/tool", "rm", "/src", ",", "sleep", "100ms", "b"]
-- packages/core/c/package.toml --
[package]
name = "c"
version = "1"
-- packages/core/c/Containerfile --
FROM scratch
COPY --from=stagex/core-b /x /x
COPY --from=stagex/core-a /src /y
`

var chainOutputs = []string{"core-a", "core-b", "core-c"}

// newChain returns a tree of three outputs whose sources arrive slowly.
func newChain(t *testing.T) *Tree {
	const files, size = 4, 1 << 20
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(noise)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := append([]byte(r.URL.Path), noise...)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		for len(data) > 0 { // in pieces, so that there is something to interrupt
			n, err := w.Write(data[:min(len(data), 64<<10)])
			if err != nil {
				return
			}
			data = data[n:]
			http.NewResponseController(w).Flush()
			time.Sleep(2 * time.Millisecond) // the server's slowness, not a wait
		}
	}))
	t.Cleanup(srv.Close)
	var sources strings.Builder
	for i := range files {
		path := fmt.Sprintf("/file%d", i)
		fmt.Fprintf(&sources, "[sources.file%d]\nhash = \"%x\"\nmirrors = [%q]\n",
			i, sha256.Sum256(append([]byte(path), noise...)), srv.URL+path)
	}
	return NewTree(t, programs, "", strings.Replace(chain, "SOURCES", sources.String(), 1))
}

// kill -9 of sx at any point of fetching and building leaves no partial file under a
// final name, and the next run succeeds.
func TestKill(t *testing.T) {
	length := 30 * time.Second
	if testing.Short() {
		length = 5 * time.Second
	}
	tree := newChain(t)
	began := time.Now()
	tree.Sx("build", "--all")
	whole := time.Since(began) // as long as one run may be
	tree.Sx("digests", "--write")
	want := tree.Read("digests/core.txt")
	tree.WantNothingLeft()

	rounds, killed := 0, 0
	for began := time.Now(); time.Since(began) < length && !t.Failed(); rounds++ {
		r := tree.Start(tree.work(rounds)...)
		after := time.After(rand.N(whole / 2)) // most runs have less to do than the first
		if r.during(func() bool { return passed(after) }) {
			killed++
			r.Cmd.Process.Kill()
		}
		r.Wait()
		if rounds%4 == 3 { // the engine as well, as a power cut would
			tree.killEngine()
		}
		tree.wantWholeOrNone(want)
	}
	if killed == 0 {
		t.Error("no run was killed")
	}
	t.Logf("%d of %d runs killed, each within %s", killed, rounds, whole/2)
	tree.WantNothingLeft()
	tree.Sx("build", "--all")
	tree.Sx("digests", "--write")
	if got := tree.Read("digests/core.txt"); got != want {
		t.Errorf("digests after the kills:\n%swant:\n%s", got, want)
	}
}

// A build of a whole tree that is killed again and again, sometimes with its engine,
// continues each time: finished outputs are not built again, and in the end all are
// proven.
func TestKillWholeTree(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	killed, finished := 0, 0
	for round := range 20 {
		r := tree.Start("build", "--all", "-j", "2")
		after := time.After(300*time.Millisecond + rand.N(time.Second))
		if !r.during(func() bool { return passed(after) }) {
			r.Want(0)
			break
		}
		killed++
		r.Cmd.Process.Kill()
		r.Wait()
		if round%3 == 2 {
			tree.killEngine()
		}
		records, _ := filepath.Glob(tree.Path(".sx/records/*"))
		if len(records) < finished {
			t.Fatalf("round %d: %d outputs are recorded, before it were %d", round, len(records), finished)
		}
		finished = len(records)
	}
	last := tree.Start("build", "--all").Want(0)
	if out := last.Stdout.String(); !strings.Contains(out, sixteen) {
		t.Errorf("not all match:\n%s", out)
	}
	log := last.Stderr.String()
	if want := fmt.Sprintf("%d built, ", 16-finished); killed > 0 && !strings.Contains(log, want) && !strings.Contains(log, "0 built, 16 up to date") {
		t.Errorf("no %q after %d outputs were finished:\n%s", want, finished, log)
	}
	t.Logf("killed %d times, %d outputs finished by then", killed, finished)
}

// An engine that dies while sx probes it is reached again, as one that dies during a
// build.
func TestKillWhileProbed(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", "-- packages/core/a/package.toml --\n[package]\nname = \"a\"\n-- packages/core/a/Containerfile --\nFROM scratch\nCOPY . /\n")
	again := 0
	for round := range 8 {
		tree.stopEngine()
		tree.must(os.RemoveAll(tree.Path(".sx")))
		tree.must(os.RemoveAll(tree.Path("out")))
		r := tree.Start("build", "core-a")
		Until(t, patience, "sx talks to the engine", func() bool {
			clients, _ := filepath.Glob(tree.Path(".sx/engine/*.clients"))
			return len(clients) == 1 && strings.TrimSpace(tree.Read(".sx/engine/"+filepath.Base(clients[0]))) == "1"
		})
		after := time.After(time.Duration(round) * 15 * time.Millisecond)
		r.during(func() bool { return passed(after) })
		tree.killEngine()
		if strings.Contains(r.Want(0).Stderr.String(), "broke while sx examined it") {
			again++
		}
	}
	if again == 0 {
		t.Error("no kill came while the engine was asked")
	}
}

func passed(c <-chan time.Time) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// work changes something, and returns the command for the next run.
func (t *Tree) work(round int) []string {
	t.t.Helper()
	switch round % 5 {
	case 0: // fetch, and build from the engine's cache
		t.must(os.RemoveAll(t.Path("fetch")))
		fallthrough
	case 1:
		for _, name := range chainOutputs {
			t.must(os.RemoveAll(t.Path("out", name)))
		}
	case 2:
		t.must(os.RemoveAll(t.Path("digests")))
		return []string{"digests", "--write"}
	}
	return append([]string{"build", "--no-cache"}, chainOutputs...)
}

// wantWholeOrNone checks the files that users see right after a kill.
func (t *Tree) wantWholeOrNone(digests string) {
	t.t.Helper()
	data, _ := os.ReadFile(t.Path("digests/core.txt"))
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(digests, line) || !strings.HasSuffix(line, "\n") {
			t.t.Errorf("digests/core.txt has the line %q", line)
		}
	}
	entries, _ := os.ReadDir(t.Path("digests"))
	for _, e := range entries {
		if e.Name() != "core.txt" {
			t.t.Errorf("stray digests/%s", e.Name())
		}
	}
	sources, _ := filepath.Glob(t.Path("fetch/*/*/*"))
	for _, path := range sources {
		data, err := os.ReadFile(path)
		if t.must(err); len(data) != 1<<20+len("/file0") {
			t.t.Errorf("%s has %d bytes", path, len(data))
		}
	}
	outputs, _ := os.ReadDir(t.Path("out"))
	if len(outputs) == 0 {
		return
	}
	store, err := cache.Open(t.Dir, cache.Options{Dir: filepath.Join(t.t.TempDir(), "sx"), KeyFile: filepath.Join(t.t.TempDir(), "key")})
	t.must(err)
	for _, e := range outputs {
		if _, err := store.Verify(t.t.Context(), e.Name()); err != nil {
			t.t.Errorf("out/%s: %v", e.Name(), err)
		}
	}
}
