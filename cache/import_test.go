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
	if _, ok := s.imported("core-x"); !ok {
		t.Error("what was imported just now is looked at again")
	}
	after += recently
	must(s.Import(t.Context(), "core-x"))(t)
	must(s.BlobPath(one))(t)

	other := buildImage("three").commit(t, s, "core-x")
	if got := must(s.Import(t.Context(), "core-x"))(t); got.Top != other.Top {
		t.Errorf("imported %v, want %v", got, other)
	}
	must(s.Import(t.Context(), "core-x"))(t)

	path := s.Out("core-x/blobs/sha256/" + oci.DigestOf([]byte("three")).Hex())
	must(0, os.Remove(path))(t)
	after += recently
	write(t, path, []byte("tHree"))
	var wrong *oci.DigestMismatchError
	if _, err := s.Import(t.Context(), "core-x"); !errors.As(err, &wrong) {
		t.Errorf("with a damaged blob: %v", err)
	}
}
