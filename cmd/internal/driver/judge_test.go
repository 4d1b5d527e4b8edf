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

// history says whether a folder changed.
type history map[string]any // true, false or an error

func (h history) Changed(dir string, _ []graph.File) (bool, error) {
	if err, ok := h[dir].(error); ok {
		return false, err
	}
	return h[dir] == true, nil
}

// published pretends to build each output, with a layer named like it, and lists the
// digests.
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

// words returns "<name> <word>" for each output, and the notes.
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

// TestEditTakenBack checks that an output built from an edited dependency is not a
// MISMATCH after the edit was reverted, however far below the edit was, and even if
// the outputs between them kept their digests.
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
	p.wantWords(nil, "a MATCH", "b MISMATCH", "c tainted by core-b", "d MATCH")

	// The output between the edit and this one kept its digest.
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

// TestUnprovenDependency checks that a dependency that was not built here accounts
// for another digest, unless it is the image that the tree publishes.
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

// TestDamagedHistory checks that an object of the history that cannot be read makes
// the outputs that depend on it unknown, and no others.
func TestDamagedHistory(t *testing.T) {
	p := newPretender(t, "a:", "b:", "c: a b", "d: a", "e:")
	p.published("a", "b", "c", "d", "e")
	for _, name := range []string{"a", "b", "c", "d"} {
		p.build(name, "other "+name)
	}
	h := history{"packages/core/a": errors.New("tree 1234 is damaged"), "packages/core/b": true}
	notes := p.wantWords(h, "a MISMATCH", "b CHANGED", "c CHANGED", "d tainted by core-a", "e MATCH")
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

// TestUnknownKey checks that a digest that differs is not a MISMATCH if package.toml
// has a key that sx does not know, also if the definition changed, as one does that
// just got the key.
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
