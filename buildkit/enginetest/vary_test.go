package enginetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// varied has a definition for each variation, whose image depends on that alone.
const varied = `
-- packages/core/cpus/package.toml --
[package]
name = "cpus"
-- packages/core/cpus/Containerfile --
FROM scratch
COPY tool /
RUN ["/tool", "cpus", "/seen"]
-- packages/core/umask/package.toml --
[package]
name = "umask"
-- packages/core/umask/Containerfile --
FROM scratch
COPY tool /
RUN ["/tool", "open", "/seen"]
-- packages/core/hostname/package.toml --
[package]
name = "hostname"
-- packages/core/hostname/Containerfile --
FROM scratch
COPY tool /
RUN ["/tool", "hostname", "/seen"]
-- packages/core/kernel/package.toml --
[package]
name = "kernel"
-- packages/core/kernel/Containerfile --
FROM scratch
COPY tool /
RUN ["/tool", "uname", "/seen"]
`

var variations = []string{"cpus", "umask", "hostname", "kernel"}

// newVaried returns a tree of varied whose digests are published.
func newVaried(t *testing.T, dir string) *Tree {
	tree := NewTree(t, programs, dir, varied)
	tree.mkdir("digests")
	return tree
}

// Each variation is real: it changes the definition that depends on it, and no other.
func TestVariations(t *testing.T) {
	t.Parallel()
	tree := newVaried(t, "")
	tree.wantVaried()
}

// An ordinary user's engine varies the same, and after a kill nothing of it is left.
func TestVariationsOrdinary(t *testing.T) {
	home, cred := newUser(t)
	tree := newVaried(t, filepath.Join(home, "tree"))
	tree.asUser(home, cred)
	tree.wantVaried()
	tree.wantKilledVaried()
}

// wantVaried varies one thing at a time. Nothing of it is kept: no proof, no record, no
// timing, no engine; and a build gives the bytes that it gave before.
func (t *Tree) wantVaried() {
	t.t.Helper()
	t.Sx("build", "--all")
	t.Sx("digests", "--write", "--all")
	before := t.Sx("digests", "--all")
	t.Sx("reproduce", "--all")
	kept := t.evidence()
	for _, v := range variations {
		said := t.Start("reproduce", "--all", "--vary", v).Want(3).Stdout.String()
		for _, name := range variations {
			want := "core-" + name + " is the same in 2 runs"
			if name == v {
				want = "core-" + name + " differs: 2 digests in 2 runs, all but the first varying " + v
			}
			if !strings.Contains(said, want) {
				t.t.Errorf("--vary %s: no %q in\n%s", v, want, said)
			}
		}
	}
	if now := t.evidence(); !slices.Equal(now, kept) {
		t.t.Errorf("there was\n%s\nnow there is\n%s", strings.Join(kept, "\n"), strings.Join(now, "\n"))
	}
	// Only the first run of each command counts as a build, and is timed.
	if n := strings.Count(t.Read(".sx/builds"), "core-cpus"); n != 2+len(variations) {
		t.t.Errorf("%d builds of core-cpus are recorded, want %d", n, 2+len(variations))
	}
	t.Sx("build", "--all", "--rebuild")
	if after := t.Sx("digests", "--all"); after != before {
		t.t.Errorf("the digests were\n%s, now they are\n%s", before, after)
	}
}

// evidence lists what says that something was built, and what an engine or a run leaves.
func (t *Tree) evidence() (files []string) {
	for _, dir := range []string{".sx/proofs", ".sx/records", ".sx/tmp", ".sx/reproduce/built"} {
		err := filepath.WalkDir(t.Path(dir), func(path string, e fs.DirEntry, err error) error {
			name, rerr := filepath.Rel(t.Dir, path)
			if err != nil || rerr != nil {
				return err
			}
			if e.IsDir() && (e.Name() == "memory" || e.Name() == "locks" || e.Name() == "blobs") {
				return fs.SkipDir // blobs of images are shared with what was built before
			}
			if !e.IsDir() {
				files = append(files, name)
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.t.Fatal(err)
		}
	}
	return files
}
