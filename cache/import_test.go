package cache

import (
	"errors"
	"os"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
)

// TestImportAgain: what this process has committed or imported is found without being read, and a
// shared blob that is gone, another image and a damaged blob are noticed all the same.
func TestImportAgain(t *testing.T) {
	s := newStoreLater(t)
	after := time.Duration(0)
	now := func() time.Time { return later().Add(after) }
	s = must(Open(s.tree, Options{KeyFile: s.tree + ".key", Build: "test", Now: now}))(t)
	l := buildImage("one", "two").commit(t, s, "core-x")
	for _, what := range []string{"committed", "imported"} {
		again, ok := s.imported("core-x")
		if !ok || diff(l, again) != "" {
			t.Errorf("%s and read again; it was %v, is %v", what, l, again)
		}
		s = must(Open(s.tree, Options{KeyFile: s.tree + ".key", Build: "test", Now: now}))(t)
		if _, ok := s.imported("core-x"); ok {
			t.Fatal("imported before anything was")
		}
		must(s.Import(t.Context(), "core-x"))(t)
	}

	one := oci.DigestOf([]byte("one"))
	must(0, os.Remove(s.shared(one)))(t)
	if _, ok := s.recent("core-x"); !ok {
		t.Error("what was imported just now is looked at again")
	}
	after += recently
	must(s.Dependency(t.Context(), "core-x"))(t)
	must(s.BlobPath(one))(t)
	must(0, os.Remove(s.shared(one)))(t)
	must(s.Import(t.Context(), "core-x"))(t)
	must(s.BlobPath(one))(t)

	other := buildImage("three").commit(t, s, "core-x")
	if got := must(s.Import(t.Context(), "core-x"))(t); got.Top != other.Top {
		t.Errorf("imported %v, want %v", got, other)
	}
	must(s.Import(t.Context(), "core-x"))(t)

	path := s.Out("core-x/blobs/sha256/" + oci.DigestOf([]byte("three")).Hex())
	must(0, os.Remove(path))(t)
	write(t, path, []byte("tHree"))
	var wrong *oci.DigestMismatchError
	if _, err := s.Import(t.Context(), "core-x"); !errors.As(err, &wrong) {
		t.Errorf("with a damaged blob: %v", err)
	}
}

// TestDependencyReplaced: what another sx, or make, has put into the place of a dependency is
// noticed at once.
func TestDependencyReplaced(t *testing.T) {
	s := newStoreLater(t)
	open := func() *Store {
		return must(Open(s.tree, Options{KeyFile: s.tree + ".key", Build: "test", Now: later}))(t)
	}
	a, b := open(), open()
	wantWhole := func(want Layout) {
		t.Helper()
		got := must(b.Dependency(t.Context(), "core-x"))(t)
		if got.Top != want.Top {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, m := range got.Manifests {
			if _, err := b.BlobPath(m.Digest); err != nil {
				t.Errorf("a dependency, but %v", err)
			}
		}
	}
	wantWhole(buildImage("one").commit(t, a, "core-x"))
	wantWhole(buildImage("two").commit(t, a, "core-x"))

	elsewhere := newStoreLater(t)
	three := buildImage("three").commit(t, elsewhere, "core-x")
	must(0, os.RemoveAll(b.Out("core-x")))(t)
	must(0, os.CopyFS(b.Out("core-x"), os.DirFS(elsewhere.Out("core-x"))))(t)
	must(b.Check("core-x"))(t) // and remembers it
	wantWhole(three)
}
