package history_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// The commit of a revision itself is compared with, and commits before it can be named.
func TestSince(t *testing.T) {
	r := published(t)
	first := strings.TrimSpace(r.git("rev-parse", "HEAD"))
	r.write("packages/core/a/Containerfile", "FROM scratch\n")
	r.commit("an edit")
	r.git("tag", "edited")
	r.write("packages/core/a/more", "x")
	r.commit("a file more")
	for name, want := range map[string]struct {
		hash    string
		changed bool
	}{"HEAD": {"HEAD", false}, "edited": {"edited", true}, "HEAD~1": {"edited", true}, "HEAD^": {"edited", true}, "HEAD~1^": {first, true}, "edited~": {first, true}} {
		h, err := history.Since(r.dir, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, hash := h.PublishedAt().Hash, strings.TrimSpace(r.git("rev-parse", want.hash)); got != hash {
			t.Errorf("%s: commit %s, want %s", name, got, hash)
		}
		wantChanged(t, h, r.dir, "packages/core/a", want.changed)
		if names, err := h.Folders("packages/core", "Containerfile"); err != nil || !slices.Contains(names, "a") {
			t.Errorf("%s: folders %q, %v", name, names, err)
		}
		for _, none := range [][2]string{{"packages/none", "Containerfile"}, {"packages/core", "none"}} {
			if names, err := h.Folders(none[0], none[1]); err != nil || names != nil {
				t.Errorf("%s: folders %q, %v", name, names, err)
			}
		}
		h.Close()
	}
	for name, want := range map[string]string{
		"HEAD~99": "before the first commit", "HEAD^2": "only NAME~N and NAME^", "HEAD~x": "only", "HEAD~99999999999999999999": "only", "none~1": "no branch",
	} {
		h, err := history.Since(r.dir, name)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, history.ErrNoHistory) {
			t.Errorf("%q: %v, %v", name, h, err)
		}
	}
}

// Without a revision it is the newest commit at which HEAD left a branch that others are
// based on, as git merge-base says.
func TestSinceFork(t *testing.T) {
	r := published(t)
	commit := func(file string) string {
		r.write(file, file)
		r.commit(file)
		return strings.TrimSpace(r.git("rev-parse", "HEAD"))
	}
	want := func(of, hash string) {
		t.Helper()
		h, got, err := history.SinceFork(r.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if got != of || h.PublishedAt().Hash != hash {
			t.Errorf("%q at %s, want %q at %s", got, h.PublishedAt().Hash, of, hash)
		}
	}
	branch := strings.TrimSpace(r.git("symbolic-ref", "--short", "HEAD"))
	r.git("branch", "-m", branch, "main")
	base := commit("packages/core/a/1")
	want("", base) // on main, without a remote
	r.git("checkout", "-q", "-b", "work")
	commit("packages/core/a/2")
	want("main", base)
	r.git("checkout", "-q", "-b", "staging", "main")
	forked := commit("packages/core/a/3")
	r.git("checkout", "-q", "work")
	r.git("merge", "-q", "-m", "staging", "staging")
	commit("packages/core/a/4")
	want("staging", forked) // newer than where it left main
	r.git("update-ref", "refs/remotes/origin/main", "main")
	want("origin/main", base) // a remote's branches are what others see
	r.git("update-ref", "refs/remotes/origin/other", "staging")
	r.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/other")
	want("origin/HEAD", forked)
	r.git("checkout", "-q", "--orphan", "alone")
	h, of, err := func() (*history.History, string, error) { r.commit("alone"); return history.SinceFork(r.dir) }()
	if err != nil || of != "" {
		t.Errorf("%q, %v", of, err)
	}
	h.Close()

	names, err := history.Names(r.dir)
	if err != nil || !slices.Contains(names, "staging") || !slices.Contains(names, "origin/other") || !slices.IsSorted(names) {
		t.Errorf("%q, %v", names, err)
	}
}

// A shallow clone that ends before the fork is no reason to compare with something else.
func TestSinceShallow(t *testing.T) {
	r := published(t)
	r.git("branch", "-f", "staging")
	r.write("packages/core/a/1", "x")
	r.commit("one")
	r.git("checkout", "-q", "-b", "work")
	r.write("packages/core/a/2", "x")
	r.commit("two")
	dir := t.TempDir() + "/clone"
	r.git("clone", "-q", "--depth", "1", "--no-single-branch", "file://"+r.dir, dir)
	h, of, err := history.SinceFork(dir)
	if err == nil || !strings.Contains(err.Error(), "shallow") || !strings.Contains(err.Error(), "git fetch --unshallow") {
		t.Errorf("%v, %q, %v", h, of, err)
	}
	if _, err := history.Since(dir, "HEAD~1"); err == nil || !strings.Contains(err.Error(), "shallow") {
		t.Errorf("got %v", err)
	}
}
