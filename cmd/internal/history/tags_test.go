package history_test

import (
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// Tags are read from a checkout and from a bare clone, annotated or not, with digests/ or the old digests.txt; those that
// are not accepted, or have no digests, are left out.
func TestTags(t *testing.T) {
	r := newRepo(t)
	r.write("other", "x")
	r.commit("nothing published")
	r.git("tag", "v0")
	r.write("digests.txt", "old\n")
	r.commit("old")
	r.git("tag", "v1")
	r.git("rm", "-q", "digests.txt")
	r.write("digests/core.txt", "core\n")
	r.write("digests/user.txt", "user\n")
	r.commit("new")
	r.git("tag", "-a", "-m", "x", "v2")
	r.git("tag", "other")
	r.git("clone", "-q", "--bare", ".", "bare")
	for _, dir := range []string{r.dir, r.path("bare")} {
		tags, err := history.Tags(dir, func(name string) bool { return strings.HasPrefix(name, "v") })
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, tag := range tags {
			for _, f := range tag.Files {
				got[tag.Name] += string(f)
			}
		}
		if len(got) != 2 || got["v1"] != "old\n" || got["v2"] != "core\nuser\n" {
			t.Errorf("%s: got %q", dir, got)
		}
	}
	if _, err := history.Tags(t.TempDir(), func(string) bool { return true }); err == nil {
		t.Error("an empty folder is a clone")
	}
}
