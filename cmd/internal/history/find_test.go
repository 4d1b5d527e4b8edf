package history_test

import (
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

func wantAt(t *testing.T, h *history.History, want string) {
	t.Helper()
	if got := h.PublishedAt().Hash; got != want {
		t.Errorf("published at %s, want %s", got, want)
	}
}

func TestPublishedAtTheFirstCommit(t *testing.T) {
	r := newRepo(t)
	r.write("digests/core.txt", "1111 core-a\n")
	want := r.commit("a tree imported whole")
	wantAt(t, r.open(), want)
}

func TestPublishedByRemovingALine(t *testing.T) {
	r := published(t)
	r.write("digests/core.txt", "1111 core-a\n")
	want := r.commit("drop b")
	r.commit("nothing")
	wantAt(t, r.open(), want)
}

// A release branch that wrote the digests is merged back: the way leads through the merge's second parent.
func TestPublishedOnAMergedBranch(t *testing.T) {
	r := published(t)
	r.git("checkout", "-q", "-b", "release")
	r.write("digests/core.txt", "3333 core-a\n2222 core-b\n")
	want := r.commit("release")
	r.git("checkout", "-q", "main")
	r.write("packages/core/a/Containerfile", "FROM scratch AS later\n")
	r.commit("edit on main")
	r.git("merge", "-q", "--no-edit", "release")
	h := r.open()
	wantAt(t, h, want)
	wantChanged(t, h, r.dir, "packages/core/a", true)
}

// A merge whose digests/ is that of neither parent published them itself.
func TestPublishedByAMerge(t *testing.T) {
	r := published(t)
	r.git("checkout", "-q", "-b", "other")
	r.write("digests/user.txt", "4444 user-c\n")
	r.commit("publish c")
	r.git("checkout", "-q", "main")
	r.write("digests/pallet.txt", "5555 pallet-d\n")
	r.commit("publish d")
	r.git("merge", "-q", "--no-edit", "other")
	wantAt(t, r.open(), r.git("rev-parse", "HEAD"))
}

// git's own answer is the reference for histories of any shape.
func TestPublishedAsGitSays(t *testing.T) {
	r := published(t)
	for i := range 12 {
		branch := string(rune('a' + i))
		r.git("checkout", "-q", "-b", branch)
		if i%3 == 0 {
			r.write("digests/core.txt", branch+" core-a\n")
		}
		r.write("packages/core/a/"+branch, branch)
		r.commit("on " + branch)
		r.git("checkout", "-q", "main")
		if i%2 == 0 {
			r.git("merge", "-q", "--no-ff", "--no-edit", branch)
		}
		wantAt(t, r.open(), r.git("log", "-1", "--format=%H", "--", "digests"))
	}
}

func TestDetachedHead(t *testing.T) {
	r := published(t)
	want := r.git("rev-parse", "HEAD~1")
	r.write("digests/core.txt", "3333 core-a\n")
	r.commit("later digests")
	r.git("checkout", "-q", "--detach", "HEAD~1")
	wantAt(t, r.open(), want)
}

func TestPackedRepository(t *testing.T) {
	r := published(t)
	want := r.git("rev-parse", "HEAD~1")
	r.git("gc", "-q", "--aggressive", "--prune=now")
	r.git("pack-refs", "--all")
	r.write("packages/core/b/x", "loose, beside the pack")
	r.commit("loose")
	h := r.open()
	wantAt(t, h, want)
	wantChanged(t, h, r.dir, "packages/core/a", false)
	wantChanged(t, h, r.dir, "packages/core/b", true)
}
