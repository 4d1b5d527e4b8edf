package driver

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// history knows of folders whether they changed.
type history map[string]any // true, false or an error

func (h history) Changed(dir string, _ []graph.File) (bool, error) {
	if err, ok := h[dir].(error); ok {
		return false, err
	}
	return h[dir] == true, nil
}

// published pretends to build every output, each with a layer of its name, and lists
// the digests.
func (p *pretender) published(names ...string) {
	p.t.Helper()
	published := cache.Published{}
	for _, name := range names {
		p.build(name, name)
		l, err := p.open().Store.Read("core-" + name)
		p.must(err)
		published["core-"+name] = l.Digest()
	}
	p.must(p.open().Store.WriteDigests(published))
}

// words are "<name> <word>" of every output, with the notes.
func (p *pretender) words(h history) (words []string, notes map[string]string) {
	p.t.Helper()
	tree := p.open()
	j := &verdict.Judge{View: tree, Open: func() (verdict.History, error) { return h, nil }}
	refs := tree.Graph.All()
	vs := j.All(refs)
	verified, err := verdict.Verify(p.t.Context(), &verdict.Judge{View: tree, Open: j.Open}, refs, nil)
	p.must(err)
	if diff := cmp.Diff(vs, verified, cmp.Comparer(func(a, b oci.Digest) bool { return a == b })); diff != "" {
		p.t.Errorf("after a build, and verified (-want +got):\n%s", diff)
	}
	notes = map[string]string{}
	for _, v := range vs {
		words = append(words, v.Ref.Name+" "+v.String())
		notes[v.Ref.Name] = v.Note
	}
	slices.Sort(words)
	return words, notes
}

func (p *pretender) wantWords(h history, want ...string) map[string]string {
	p.t.Helper()
	got, notes := p.words(h)
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("(-want +got):\n%s\n%v", diff, notes)
	}
	return notes
}

// TestEditTakenBack: what was built from an edited dependency whose edit was taken back
// is not a MISMATCH, however far below the edit was, and however much between them
// came out as it was.
func TestEditTakenBack(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b", "d:")
	p.published("a", "b", "c", "d")
	p.wantWords(nil, "a MATCH", "b MATCH", "c MATCH", "d MATCH")
	edit := filepath.Join(p.dir, "packages/core/a/edit")
	p.write("core/a/edit", "")
	p.build("a", "edited")
	p.build("b", "b of edited")
	p.build("c", "c of edited")
	p.must(os.Remove(edit))
	notes := p.wantWords(nil, "a UNPROVEN", "b UNPROVEN", "c UNPROVEN", "d MATCH")
	if !strings.Contains(notes["c"], "core-a was built from other definitions") || !strings.Contains(notes["c"], "sx build core-c") {
		t.Errorf("the note does not name the input and the remedy: %s", notes["c"])
	}
	p.wantWords(history{"packages/core/b": true}, "a UNPROVEN", "b UNPROVEN", "c UNPROVEN", "d MATCH")
	p.build("a", "a")
	p.wantWords(nil, "a MATCH", "b UNPROVEN", "c UNPROVEN", "d MATCH")
	p.build("b", "b of edited") // a digest that was proven with the edit, now is without
	p.wantWords(nil, "a MATCH", "b MISMATCH", "c MISMATCH", "d MATCH")

	// What lies between the edit and the output has the digest that it had.
	p.write("core/a/edit", "")
	p.build("a", "edited")
	p.build("b", "b")
	p.build("c", "c of edited")
	p.must(os.Remove(edit))
	p.build("a", "a")
	p.wantWords(nil, "a MATCH", "b MATCH given 1 unproven input", "c UNPROVEN", "d MATCH")
	p.build("b", "b")
	p.wantWords(nil, "a MATCH", "b MATCH", "c MISMATCH", "d MATCH")
}

// TestUnprovenDependency: an image that was not built here lets what is built from it
// differ if it is not the one that the tree publishes.
func TestUnprovenDependency(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: a")
	p.published("a", "b")
	p.build("b", "other")
	p.build("c", "c")
	forget := func() {
		p.must(os.RemoveAll(filepath.Join(p.dir, ".sx/proofs/core-a")))
		p.must(os.Remove(filepath.Join(p.dir, ".sx/records/core-a.json")))
	}
	forget()
	p.wantWords(nil, "a UNPROVEN", "b MISMATCH", "c UNPUBLISHED")
	p.build("a", "strange")
	p.build("b", "other")
	p.build("c", "c")
	forget()
	p.wantWords(nil, "a UNPROVEN", "b UNPROVEN", "c UNPROVEN")
}

// TestDamagedHistory: what of the history cannot be read makes nothing unknown but
// what depends on it.
func TestDamagedHistory(t *testing.T) {
	p := newPretender(t, "a:", "b:", "c: a b", "d: a", "e:")
	p.published("a", "b", "c", "d", "e")
	for _, name := range []string{"a", "b", "c", "d"} {
		p.build(name, "other "+name)
	}
	h := history{"packages/core/a": errors.New("tree 1234 is damaged"), "packages/core/b": true}
	notes := p.wantWords(h, "a MISMATCH", "b CHANGED", "c CHANGED", "d MISMATCH", "e MATCH")
	for _, name := range []string{"a", "d"} {
		if !strings.Contains(notes[name], "unknown: tree 1234 is damaged") {
			t.Errorf("%s: what is not known is not said: %q", name, notes[name])
		}
	}
	s := (&verdict.Judge{View: p.open(), Open: func() (verdict.History, error) { return h, nil }}).Baseline()
	for name, want := range map[string]string{
		"a": "unknown: tree 1234 is damaged", "b": "packages/core/b changed", "c": "core-a is built into it", "e": "",
	} {
		why, ok := s.Reusable(graph.Ref{Stage: "core", Name: name})
		if !strings.Contains(why, want) || ok != (want == "") || ok != (why == "") {
			t.Errorf("core-%s: %q, want %q", name, why, want)
		}
	}
}

// TestUnknownKey: with a key that sx does not know another digest proves nothing, also
// if the definition changed, as one that just got the key has.
func TestUnknownKey(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b", "d:")
	p.published("a", "b", "c", "d")
	p.write("core/b/package.toml", "[package]\nname = \"b\"\nfrob = 1\n")
	p.build("b", "b")
	for _, h := range []history{nil, {"packages/core/b": true}, {"packages/core/a": true}} {
		p.wantWords(h, "a MATCH", "b MATCH", "c MATCH", "d MATCH")
	}
	for _, name := range []string{"b", "c", "d"} {
		p.build(name, "other "+name)
	}
	p.wantWords(nil, "a MATCH", "b UNPROVEN", "c UNPROVEN", "d MISMATCH")
	notes := p.wantWords(history{"packages/core/b": true, "packages/core/d": true}, "a MATCH", "b UNPROVEN", "c UNPROVEN", "d CHANGED")
	for _, name := range []string{"b", "c"} {
		if !strings.Contains(notes[name], "the key package.frob in packages/core/b/package.toml") {
			t.Errorf("%s: the key is not named: %q", name, notes[name])
		}
	}
}
