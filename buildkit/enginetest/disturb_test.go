package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Environment variables of TestDisturbed.
const (
	disturbancesEnv = "SX_TEST_DISTURBANCES" // how many; 200 if unset
	seedEnv         = "SX_TEST_SEED"         // of the first round
)

// perRound is the number of disturbances in one build.
const perRound = 5

// disturbed is a tree whose images contain all their inputs.
const disturbed = `
-- packages/core/a/Containerfile --
FROM scratch
COPY --from=fetch . /src/
COPY . /ctx/
-- packages/core/a/data --
-- packages/core/a/more/data --
more
-- packages/core/b/package.toml --
[package]
name = "b"
-- packages/core/b/Containerfile --
FROM stagex/core-a
COPY . /b/
-- packages/core/b/data --
b
-- packages/core/c/package.toml --
[package]
name = "c"
-- packages/core/c/Containerfile --
FROM scratch
COPY --from=stagex/core-a /src/ /a/
COPY --from=stagex/core-b /b/ /b/
COPY . /ctx/
`

// sourceFiles names the sources of core-a.
var sourceFiles = []string{"one.txt", "two.txt", "three.txt"}

// disturbedSource takes some milliseconds to read.
func disturbedSource(name string) []byte {
	return []byte(strings.Repeat("the source "+name+"\n", 100_000))
}

// TestDisturbed removes, moves, truncates, overwrites and replaces sources,
// definitions and parts of out/ during builds. Each record must be of an image with
// the very files that the record's key covers, and the next undisturbed build must
// succeed.
func TestDisturbed(t *testing.T) {
	t.Parallel()
	rounds := number(t, disturbancesEnv, 200) / perRound
	if testing.Short() {
		rounds = 4
	}
	seed := number(t, seedEnv, int(rand.Uint32()))
	tree := newDisturbed(t)
	w := newWitness(tree)
	failed := 0
	for round := range rounds {
		at := uint64(seed + round)
		random := rand.New(rand.NewPCG(at, at))
		tree.restore(round)
		r := tree.Start("build", "--all", "-k", "-j", "2")
		done := make(chan []string, 1)
		go func() { done <- disturb(tree, random) }()
		code := r.Wait()
		what := fmt.Sprintf("round %d, after %s (%s=%d reproduces its choices):", round, strings.Join(<-done, ", "), seedEnv, at)
		if code < 0 || strings.Contains(r.Stderr.String(), "panic:") {
			t.Fatalf("%s sx ended with %d:\n%s", what, code, &r.Stderr)
		}
		if code != 0 {
			failed++
		}
		w.check(what)
		if round%4 == 3 || round == rounds-1 {
			tree.restore(round)
			if peace := tree.Start("build", "--all"); peace.Wait() != 0 {
				t.Fatalf("%s the build in peace failed:\n%s", what, &peace.Stderr)
			}
			if seen := w.check(what); seen != len(w.outputs) {
				t.Fatalf("%s only %d outputs of the build in peace can be checked", what, seen)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d disturbed builds, of which %d failed", rounds, failed)
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

func newDisturbed(t *testing.T) *Tree {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(disturbedSource(filepath.Base(r.URL.Path)))
	}))
	t.Cleanup(srv.Close)
	manifest := "[package]\nname = \"a\"\n"
	tree := NewTree(t, programs, "", disturbed)
	for _, name := range sourceFiles {
		manifest += strings.Replace(tree.Source("core/a", name, disturbedSource(name)), "https://example.org", srv.URL, 1)
	}
	tree.Write("packages/core/a/package.toml", []byte(manifest))
	tree.must(os.CopyFS(tree.Path("../saved/packages"), os.DirFS(tree.Path("packages"))))
	tree.must(os.CopyFS(tree.Path("../saved/fetch"), os.DirFS(tree.Path("fetch"))))
	return tree
}

// restore restores the definitions and the sources, with a change that requires a
// build.
func (t *Tree) restore(round int) {
	t.t.Helper()
	for _, part := range []string{"packages", "fetch"} {
		t.must(os.RemoveAll(t.Path(part)))
		t.must(os.CopyFS(t.Path(part), os.DirFS(t.Path("../saved", part))))
	}
	t.Write("packages/core/a/data", fmt.Appendf(nil, "round %d\n", round))
	t.must(os.RemoveAll(t.Path("../aside")))
	t.mkdir("../aside")
}

// disturb changes files at random moments, and returns what it did.
func disturb(t *Tree, random *rand.Rand) (did []string) {
	time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
	for range perRound {
		path := target(t, random)
		i := random.IntN(len(disturbances))
		if path == "" {
			continue
		}
		name, _ := filepath.Rel(t.Dir, path)
		err := disturbances[i].do(t, random, path)
		did = append(did, fmt.Sprintf("%s of %s (%v)", disturbances[i].name, name, err))
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
	}
	return did
}

// target returns the path of a source, of a definition or in out/, "" if there is
// none.
func target(t *Tree, random *rand.Rand) string {
	patterns := []string{"fetch/core/a/*", "fetch/core/a/*", "packages/core/*/*", "out/*/blobs/sha256/*", "out/*/*", "out/*"}
	paths, _ := filepath.Glob(t.Path(patterns[random.IntN(len(patterns))]))
	if len(paths) == 0 {
		return ""
	}
	return paths[random.IntN(len(paths))]
}

var disturbances = []struct {
	name string
	do   func(t *Tree, random *rand.Rand, path string) error
}{
	{"removal", func(t *Tree, _ *rand.Rand, path string) error { return os.RemoveAll(path) }},
	{"move", func(t *Tree, random *rand.Rand, path string) error { return os.Rename(path, t.aside(random)) }},
	{"move to and fro", func(t *Tree, random *rand.Rand, path string) error {
		aside := t.aside(random)
		if err := os.Rename(path, aside); err != nil {
			return err
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		return os.Rename(aside, path)
	}},
	{"chmod", func(t *Tree, random *rand.Rand, path string) error {
		return os.Chmod(path, os.FileMode(random.IntN(0o777)))
	}},
	{"cut", func(t *Tree, random *rand.Rand, path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, random.Int64N(info.Size()+1))
	}},
	{"growth", func(t *Tree, _ *rand.Rand, path string) error { return writeInto(path, os.O_APPEND, 0, "more\n") }},
	{"edit", func(t *Tree, random *rand.Rand, path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return writeInto(path, 0, random.Int64N(info.Size()+1), "x")
	}},
	{"replacement", func(t *Tree, random *rand.Rand, path string) error {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { // a pipe would be waited for
			return errors.Join(err, errors.New("not a file"))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		aside := t.aside(random)
		if err := os.WriteFile(aside, []byte(strings.ToUpper(string(data))), 0o644); err != nil {
			return err
		}
		return os.Rename(aside, path)
	}},
	{"folder in place", func(t *Tree, _ *rand.Rand, path string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o755)
	}},
	{"pipe in place", func(t *Tree, _ *rand.Rand, path string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return unix.Mkfifo(path, 0o644)
	}},
}

func (t *Tree) aside(random *rand.Rand) string {
	return t.Path("../aside", strconv.FormatUint(random.Uint64(), 36))
}

// writeInto writes into a file; it does not replace it.
func writeInto(path string, flags int, at int64, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if flags&os.O_APPEND != 0 {
		_, err = f.WriteString(text)
	} else {
		_, err = f.WriteAt([]byte(text), at)
	}
	return err
}
