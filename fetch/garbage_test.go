package fetch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"codeberg.org/stagex/sx/graph"
)

// What no source is goes, with the folders that it leaves empty; what lies where
// none would stays, and no link is followed.
func TestGarbage(t *testing.T) {
	tree := t.TempDir()
	put := func(path string) {
		t.Helper()
		path = filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wanted, other := graph.Hash{1}, graph.Hash{2}
	for _, path := range []string{
		"fetch/core/curl/curl-2.tar.gz", "fetch/core/curl/curl-1.tar.gz", "fetch/core/curl/.sx-curl-2.tar.gz",
		"fetch/core/gone/a", "fetch/user/curl/curl-2.tar.gz",
		"fetch/notes", "fetch/core/readme", "fetch/mine/x/file", "fetch/core/curl/dir/file",
		"packages/core/curl/fetch/curl-1.tar.gz", "elsewhere/file",
		".sx/partial/" + wanted.String() + ".part", ".sx/partial/" + wanted.String() + ".meta",
		".sx/partial/" + wanted.String() + ".wrong", ".sx/partial/" + other.String() + ".part", ".sx/partial/mine.part",
	} {
		put(path)
	}
	for _, link := range []string{"fetch/core/link", "fetch/core/gone/link"} {
		if err := os.Symlink(filepath.Join(tree, "elsewhere"), filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	sources := []Source{{Path: "fetch/core/curl/curl-2.tar.gz", Hash: wanted}}
	opts := Options{Tree: tree, TempDir: filepath.Join(tree, ".sx/partial")}
	w, err := FindGarbage(sources, opts)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"fetch/core/curl/.sx-curl-2.tar.gz", "fetch/core/curl/curl-1.tar.gz", "fetch/core/gone/a",
		"fetch/user/curl/curl-2.tar.gz"}; !slices.Equal(w.Files, want) {
		t.Errorf("files %q, want %q", w.Files, want)
	}
	if want := []string{other.String() + ".part", wanted.String() + ".wrong"}; !slices.Equal(w.Partial, want) {
		t.Errorf("partial %q, want %q", w.Partial, want)
	}
	var kept []string
	for _, k := range w.Kept {
		kept = append(kept, k.Path)
	}
	if want := []string{"fetch/core/curl/dir", "fetch/core/gone/link", "fetch/core/link", "fetch/core/readme",
		"fetch/mine", "fetch/notes"}; !slices.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
	if err := RemoveGarbage(w, opts); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"fetch/core/curl/curl-2.tar.gz": true, "fetch/core/curl/curl-1.tar.gz": false, "fetch/core/gone/a": false,
		"fetch/core/gone": true, "fetch/user/curl": false, "fetch/core/curl/dir/file": true, "elsewhere/file": true,
		"packages/core/curl/fetch/curl-1.tar.gz": true, ".sx/partial/mine.part": true,
	} {
		if _, err := os.Lstat(filepath.Join(tree, path)); err == nil != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if again, err := FindGarbage(sources, opts); err != nil || len(again.Files)+len(again.Partial) != 0 {
		t.Errorf("a second time: %+v, %v", again, err)
	}
}

// A fetch/ that leads elsewhere is no place of sources.
func TestGarbageElsewhere(t *testing.T) {
	tree, elsewhere := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(elsewhere, "core", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, "core", "x", "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(tree, "fetch")); err != nil {
		t.Fatal(err)
	}
	w, err := FindGarbage(nil, Options{Tree: tree})
	if err != nil || len(w.Files) != 0 || len(w.Kept) != 1 {
		t.Errorf("%+v, %v", w, err)
	}
	if err := RemoveGarbage(Garbage{Files: []string{"fetch/core/x/mine"}}, Options{Tree: tree}); err == nil {
		t.Error("a link was followed")
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "core", "x", "mine")); err != nil {
		t.Error(err)
	}
}
