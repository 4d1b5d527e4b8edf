package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// TestUnreadDigest: an output whose published digest cannot be read is never MATCH,
// MISMATCH, CHANGED or UNPUBLISHED; it is UNPROVEN with file and line, is not pushed and
// keeps its line. The others are as they were, and count it as an unproven input.
func TestUnreadDigest(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c:", "new:")
	p.published("a", "b", "c")
	p.build("new", "new")
	file := filepath.Join(p.dir, "digests/core.txt")
	good, err := os.ReadFile(file)
	p.must(err)
	lines := strings.SplitAfter(string(good), "\n")
	for name, c := range map[string]struct {
		text string
		want []string
		note string // of a
	}{
		"a wrong digest": {strings.Replace(string(good), lines[0], "123 core-a\n", 1),
			[]string{"a UNPROVEN", "b MATCH given 1 unproven input", "c MATCH", "new UNPUBLISHED"},
			`built here; its published digest is unknown: digests/core.txt:1: parsing digest "123"`},
		"a digest twice": {string(good) + lines[1][:64] + " core-a\n",
			[]string{"a UNPROVEN", "b MATCH given 1 unproven input", "c MATCH", "new UNPUBLISHED"},
			`digests/core.txt:4: output "core-a" is listed twice`},
		"no name": {strings.Replace(string(good), lines[0], "<<<<<<< HEAD\n", 1),
			[]string{"a UNPROVEN", "b MATCH given 1 unproven input", "c MATCH", "new UNPROVEN"},
			`digests/core.txt:1: naming output "HEAD"`},
		"no file": {strings.Repeat("x\n", 1000),
			[]string{"a UNPROVEN", "b UNPROVEN", "c UNPROVEN", "new UNPROVEN"},
			"digests/core.txt: more than 100 of its lines are wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			p.must(os.WriteFile(file, []byte(c.text), 0o644))
			if notes := p.wantWords(history{"packages/core/a": true}, c.want...); !strings.Contains(notes["a"], c.note) {
				t.Errorf("note %q, want %q", notes["a"], c.note)
			}
			v := p.open()
			j := &verdict.Judge{View: v}
			refs := v.Graph.All()
			if _, _, refused := publish.Publishable(j, refs[:1], false); len(refused) != 1 || !strings.Contains(refused[0].Reason, "digests/core.txt") {
				t.Errorf("to be pushed: refused %v", refused)
			}
			for _, force := range []bool{false, true} {
				if _, err := publish.WriteDigests(j, refs, force); err == nil {
					t.Error("digests/ was written")
				}
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != c.text {
				t.Errorf("digests/ is now %q, %v", got, err)
			}
			if _, changed, err := publish.NewDigests(j, nil, false); err != nil || len(changed) > 0 {
				t.Errorf("without outputs: %v, %v", changed, err)
			}
		})
	}
	p.must(os.WriteFile(file, good, 0o644))
	p.wantWords(nil, "a MATCH", "b MATCH", "c MATCH", "new UNPUBLISHED")
}
