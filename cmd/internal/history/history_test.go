package history_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/graph"
)

func TestChanged(t *testing.T) {
	const a = "packages/core/a"
	tests := []struct {
		name string
		edit func(repo)
		want bool
	}{
		{"nothing", func(repo) {}, false},
		{"touched only", func(r repo) { r.write(a+"/Containerfile", "FROM scratch\n") }, false},
		{"content", func(r repo) { r.write(a+"/Containerfile", "FROM scratch AS a\n") }, true},
		{"content, staged", func(r repo) { r.write(a+"/Containerfile", "FROM x\n"); r.git("add", "-A") }, true},
		{"content, committed", func(r repo) { r.write(a+"/Containerfile", "FROM x\n"); r.commit("x") }, true},
		{"edited and reverted", func(r repo) {
			r.write(a+"/Containerfile", "FROM x\n")
			r.commit("x")
			r.git("revert", "--no-edit", "HEAD")
		}, false},
		{"executable bit set", func(r repo) { r.chmod(a+"/Containerfile", 0o755) }, true},
		{"executable bit lost", func(r repo) { r.chmod(a+"/files/run.sh", 0o644) }, true},
		{"other mode bits", func(r repo) { r.chmod(a+"/Containerfile", 0o600); r.chmod(a+"/files/run.sh", 0o700) }, false},
		{"file added, untracked", func(r repo) { r.write(a+"/new.patch", "") }, true},
		{"file added, ignored", func(r repo) { r.write(".gitignore", "*.log\n"); r.write(a+"/build.log", "") }, true},
		{"file removed", func(r repo) { r.remove(a + "/files/run.sh") }, true},
		{"file renamed", func(r repo) { r.git("mv", a+"/files/run.sh", a+"/files/start.sh") }, true},
		{"link points elsewhere", func(r repo) { r.remove(a + "/link"); r.symlink(a+"/link", "files/run.sh") }, true},
		{"link made a file of the same bytes", func(r repo) { r.remove(a + "/link"); r.write(a+"/link", "Containerfile") }, true},
		{"folder in place of a file", func(r repo) { r.remove(a + "/link"); r.write(a+"/link/x", "") }, true},
		{"empty folder added", func(r repo) { r.must(os.MkdirAll(r.path(a+"/empty/er"), 0o755)) }, true},
		{"fetch/ filled by make", func(r repo) { r.write(a+"/fetch/x.tar", "x") }, false},
		{"fetch/ committed", func(r repo) { r.write(a+"/fetch/x.tar", "x"); r.commit("x") }, false},
		{"fetch deeper down", func(r repo) { r.write(a+"/files/fetch/x", "x") }, true},
		{"definition removed", func(r repo) { r.remove(a) }, true},
		{"another definition", func(r repo) { r.write("packages/core/b/x", "") }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := published(t)
			tt.edit(r)
			wantChanged(t, r.open(), r.dir, a, tt.want)
		})
	}
}

func TestChangedOfOthers(t *testing.T) {
	r := published(t)
	r.write("packages/core/new/Containerfile", "FROM scratch\n")
	h := r.open()
	wantChanged(t, h, r.dir, "packages/core/b", true) // by the commit after the digests
	wantChanged(t, h, r.dir, "packages/core/new", true)
	wantChanged(t, h, r.dir, "packages/core/never", false)
}

func TestChangedRefusesNoType(t *testing.T) {
	h := published(t).open()
	for _, mode := range []fs.FileMode{fs.ModeNamedPipe, fs.ModeDevice, fs.ModeSocket} {
		if got, err := h.Changed("packages/core/never", []graph.File{{Path: "x", Mode: mode}}); err != nil || !got {
			t.Errorf("mode %v: Changed = %v, %v; want true", mode, got, err)
		}
	}
}

func TestChangedOfASubmodule(t *testing.T) {
	r := published(t)
	hash := r.git("rev-parse", "HEAD")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+hash+",packages/core/a/sub")
	r.write("digests/core.txt", "3333 core-a\n")
	r.git("add", "digests")
	r.git("commit", "-q", "-m", "with a submodule")
	wantChanged(t, r.open(), r.dir, "packages/core/a", true)
}

func TestPublishedDigests(t *testing.T) {
	r := published(t)
	r.write("digests/core.txt", "edited, not committed\n")
	r.write("digests/user.txt", "new, not committed\n")
	h := r.open()
	for name, want := range map[string]string{"core.txt": "1111 core-a\n2222 core-b\n", "user.txt": ""} {
		if got, err := h.PublishedDigests(name); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestCommit(t *testing.T) {
	r := published(t)
	c := r.open().PublishedAt()
	want := r.git("rev-parse", "HEAD~1")
	if c.Hash != want {
		t.Errorf("published at %s, want %s", c.Hash, want)
	}
	if got := c.String(); got != want[:12]+" of 2026-03-12" {
		t.Errorf("String() = %q", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	r := published(t)
	h := r.open()
	now := files(t, filepath.Join(r.dir, "packages/core/a"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := h.Changed("packages/core/a", now); got || err != nil {
				t.Errorf("Changed = %v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func TestOpenWithoutATree(t *testing.T) {
	_, err := history.Open(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, history.ErrNoHistory) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error: %v", err)
	}
}
