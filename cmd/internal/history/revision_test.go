package history_test

import (
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// A branch, a tag of either kind, a commit: each gives the digests that stood there.
func TestOpenAt(t *testing.T) {
	r := published(t)
	was, want := strings.TrimSpace(r.git("rev-parse", "HEAD")), r.open().PublishedAt().Hash
	r.git("tag", "light")
	r.git("tag", "-m", "x", "annotated")
	r.git("tag", "-m", "x", "twice", "annotated")
	r.git("branch", "release/1")
	r.git("update-ref", "refs/remotes/origin/theirs", "HEAD")
	r.write("digests/core.txt", strings.Repeat("0", 64)+" core-a\n")
	r.commit("other digests")
	r.git("tag", "both")
	r.git("branch", "both", was)
	for _, name := range []string{"light", "annotated", "twice", "release/1", "origin/theirs", "theirs", was, "refs/heads/release/1", "refs/tags/light", "refs/heads/both"} {
		h, err := history.OpenAt(r.dir, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if h.PublishedAt().Hash != want {
			t.Errorf("%s: published at %s, want %s", name, h.PublishedAt(), want)
		}
		wantChanged(t, h, r.dir, "packages/core/a", false)
		h.Close()
	}
	for _, name := range []string{"HEAD", "@"} {
		h, err := history.OpenAt(r.dir, name)
		if err != nil || h.PublishedAt().Hash == want {
			t.Errorf("%s: %v", name, err)
			continue
		}
		h.Close()
	}
	for name, want := range map[string]string{
		"both": "two commits", "none": "no branch, tag or commit", "../../HEAD": "no branch", "": "no branch",
		"HEAD~1": "name a commit by its 40 hex digits", was[:8]: "name a commit by its 40 hex digits",
		strings.Repeat("1", 40): "", "refs/../HEAD": "no branch", "-x": "no branch", "a b": "no branch",
	} {
		if h, err := history.OpenAt(r.dir, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", name, h, err)
		}
	}
}
