package cache

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOwn(t *testing.T) {
	s := newStore(t)
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if s.Marked(dir) {
		t.Error("a folder without mark is owned")
	}
	if err := s.Mark(dir); err != nil {
		t.Fatal(err)
	}
	if !s.Marked(dir) {
		t.Error("a marked folder is not owned")
	}
	if newStore(t).Marked(dir) {
		t.Error("a folder is owned by a store with another key")
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if s.Marked(copied) {
		t.Error("the copy of an owned folder is owned")
	}
}
