package enginetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache"
)

const kept = `
-- packages/core/a/package.toml --
[package]
name = "a"
-- packages/core/a/Containerfile --
FROM scratch
COPY . /
-- packages/core/b/package.toml --
[package]
name = "b"
-- packages/core/b/Containerfile --
FROM stagex/core-a
COPY package.toml /b
`

// sx gc beside builds, in either order, and killed at any moment: no build fails,
// wanted files stay whole, and the next gc removes the rest.
func TestGCRace(t *testing.T) {
	t.Parallel()
	length := 10 * time.Second
	if testing.Short() {
		length = 3 * time.Second
	}
	tree := NewTree(t, programs, "", kept)
	tree.Sx("build", "--all")
	tree.Sx("digests", "--write")
	rounds, killed, removed := 0, 0, 0
	for began := time.Now(); time.Since(began) < length && !t.Failed(); rounds++ {
		name := tree.outgrown(rounds)
		builds := func() *Run { return tree.Start("build", "--all", "--rebuild") }
		var build, gc *Run
		if rounds%2 == 0 {
			build, gc = builds(), tree.Start("gc")
		} else {
			gc = tree.Start("gc")
			build = builds()
		}
		if after := time.After(rand.N(100 * time.Millisecond)); rounds%4 >= 2 && gc.during(func() bool { return passed(after) }) {
			killed++
			gc.Cmd.Process.Kill()
			gc.Wait()
		} else {
			gc.Want(0)
		}
		build.Want(0)
		tree.wantWhole()
		if _, err := os.Stat(tree.Path("out", "user-"+name)); err != nil {
			removed++
		}
	}
	t.Logf("%d rounds, gc killed in %d, what was not needed removed in %d", rounds, killed, removed)
	tree.Sx("gc")
	for dir, want := range map[string]int{"out": 2, ".sx/records": 2, ".sx/proofs": 2, ".sx/logs": 2, ".sx/tmp": 0} {
		if entries, _ := os.ReadDir(tree.Path(dir)); len(entries) != want {
			t.Errorf("after the last gc %s holds %v, want %d", dir, entries, want)
		}
	}
	if out := tree.Sx("verify"); !strings.Contains(out, "2 outputs: 2 MATCH") {
		t.Errorf("not two MATCH:\n%s", out)
	}
}

// outgrown builds an output, and removes its definition.
func (t *Tree) outgrown(round int) string {
	t.t.Helper()
	name := fmt.Sprintf("gone%d", round)
	dir := "packages/user/" + name
	t.Write(dir+"/package.toml", fmt.Appendf(nil, "[package]\nname = %q\n", name))
	t.Write(dir+"/Containerfile", []byte("FROM stagex/core-a\nCOPY package.toml /gone\n"))
	t.Sx("build", "user-"+name)
	t.must(os.RemoveAll(t.Path(dir)))
	return name
}

// wantWhole hashes all blobs in out/.
func (t *Tree) wantWhole() {
	t.t.Helper()
	dir := t.t.TempDir()
	store, err := cache.Open(t.Dir, cache.Options{Dir: filepath.Join(dir, "sx"), KeyFile: filepath.Join(dir, "key")})
	t.must(err)
	defer store.Close()
	entries, err := os.ReadDir(t.Path("out"))
	t.must(err)
	for _, e := range entries {
		if _, err := store.Verify(t.t.Context(), e.Name()); err != nil {
			t.t.Errorf("out/%s: %v", e.Name(), err)
		}
	}
}
