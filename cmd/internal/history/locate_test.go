package history_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// wantNone opens dir and expects no history, for a reason that holds want.
func wantNone(t *testing.T, dir, want string) {
	t.Helper()
	h, err := history.Open(dir)
	if err == nil {
		t.Fatalf("opened, published at %v", errors.Join(h.Close()))
	}
	if !errors.Is(err, history.ErrNoHistory) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want ErrNoHistory with %q", err, want)
	}
}

func TestNoHistory(t *testing.T) {
	t.Run("no repository", func(t *testing.T) { wantNone(t, t.TempDir(), "lies in no git repository") })
	t.Run("no commit", func(t *testing.T) { wantNone(t, newRepo(t).dir, "HEAD names no commit") })
	t.Run("digests never committed", func(t *testing.T) {
		r := newRepo(t)
		r.write("packages/core/a/Containerfile", "FROM scratch\n")
		r.commit("definitions")
		r.write("digests/core.txt", "1111 core-a\n")
		wantNone(t, r.dir, "digests/ was never committed")
	})
	t.Run("digests is a file", func(t *testing.T) {
		r := newRepo(t)
		r.write("digests", "1111 core-a\n")
		r.commit("x")
		wantNone(t, r.dir, "digests/ was never committed")
	})
	t.Run("sha256", func(t *testing.T) {
		r := repo{t, t.TempDir()}
		r.git("init", "-q", "--object-format=sha256")
		r.write("digests/core.txt", "1111 core-a\n")
		r.commit("x")
		wantNone(t, r.dir, `hashes with "sha256"`)
	})
	t.Run("reftable", func(t *testing.T) {
		r := published(t)
		r.git("config", "extensions.refStorage", "reftable")
		wantNone(t, r.dir, `references as "reftable"`)
	})
	t.Run("no HEAD", func(t *testing.T) {
		r := published(t)
		r.remove(".git/HEAD")
		wantNone(t, r.dir, "HEAD names no commit")
	})
}

func clone(t *testing.T, from repo, args ...string) repo {
	t.Helper()
	r := repo{t, filepath.Join(t.TempDir(), "clone")}
	from.git(append(append([]string{"clone", "-q"}, args...), "file://"+from.dir, r.dir)...)
	return r
}

func TestShallow(t *testing.T) {
	from := published(t)
	want := from.git("rev-parse", "HEAD~1")
	for depth, reached := range map[string]bool{"1": false, "2": false, "3": true} {
		r := clone(t, from, "--depth", depth)
		if reached {
			wantAt(t, r.open(), want)
		} else {
			wantNone(t, r.dir, "git fetch --unshallow")
		}
	}
	r := clone(t, from, "--depth", "1")
	r.git("fetch", "-q", "--unshallow")
	wantAt(t, r.open(), want)
}

// Without blobs everything but the text of digests/ is still known; without trees nothing is.
func TestPartialClone(t *testing.T) {
	from := published(t)
	from.git("config", "uploadpack.allowFilter", "true")
	r := clone(t, from, "--filter=blob:none")
	r.write("packages/core/a/new", "")
	wantChanged(t, r.open(), r.dir, "packages/core/a", true)
	r = clone(t, from, "--filter=tree:0")
	wantNone(t, r.dir, "git fetch --refetch")
}

func TestTreeInASubfolder(t *testing.T) {
	r := newRepo(t)
	r.write("examples/packages/core/a/Containerfile", "FROM scratch\n")
	r.write("examples/digests/core.txt", "1111 core-a\n")
	want := r.commit("example")
	r.write("digests/core.txt", "another tree's\n")
	r.write("packages/core/a/Containerfile", "another tree's\n")
	r.commit("other")
	tree := r.path("examples")
	h := open(t, tree)
	wantAt(t, h, want)
	wantChanged(t, h, tree, "packages/core/a", false)
	r.write("examples/packages/core/a/Containerfile", "FROM x\n")
	wantChanged(t, h, tree, "packages/core/a", true)
	wantNone(t, r.path("examples/packages"), "digests/ was never committed")
}

func TestTreeBehindALink(t *testing.T) {
	r := published(t)
	link := filepath.Join(t.TempDir(), "link")
	r.must(os.Symlink(r.dir, link))
	wantAt(t, open(t, link), r.git("rev-parse", "HEAD~1"))
}

func TestLinkedWorktree(t *testing.T) {
	r := published(t)
	r.git("pack-refs", "--all")
	w := repo{t, filepath.Join(t.TempDir(), "wt")}
	r.git("worktree", "add", "-q", "-b", "side", w.dir)
	w.write("digests/core.txt", "9999 core-a\n")
	want := w.commit("digests of the side branch")
	w.commit("later")
	wantAt(t, w.open(), want)
	wantAt(t, r.open(), r.git("rev-parse", "HEAD~1"))
	wantChanged(t, w.open(), w.dir, "packages/core/a", false)
}

func TestSubmodule(t *testing.T) {
	from, super := published(t), newRepo(t)
	super.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", from.dir, "deps/tree")
	super.commit("with the tree")
	wantAt(t, open(t, super.path("deps/tree")), from.git("rev-parse", "HEAD~1"))
}
