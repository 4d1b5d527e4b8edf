package tree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"codeberg.org/stagex/sx/cache"
)

// TestNoLinkLeadsOut reads a file while its folder is replaced, again and again, by a
// link that leads out of the tree.
func TestNoLinkLeadsOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	definition := dir + "/packages/core/a"
	write(t, definition+"/files/text", "inside")
	write(t, dir+"/../elsewhere/text", "outside")
	tree, err := Open(t.Context(), dir, Options{KeyFile: t.TempDir() + "/key"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	var stop atomic.Bool
	swapped := make(chan error)
	go func() {
		var err error
		for !stop.Load() && err == nil {
			err = errors.Join(os.Rename(definition+"/files", definition+"/old"), os.Symlink("../../../../elsewhere", definition+"/files"),
				os.Remove(definition+"/files"), os.Rename(definition+"/old", definition+"/files"))
		}
		swapped <- err
	}()
	read := map[string]int{}
	for n := 0; n < 3000 || read["inside"] == 0; n++ {
		data, _ := fs.ReadFile(tree.FS, "packages/core/a/files/text")
		read[string(data)]++
	}
	stop.Store(true)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if read["outside"] > 0 {
		t.Errorf("read %v", read)
	}
}

// write writes a file, and makes its folder.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSub: a folder has its files, and no link leads out of it.
func TestSub(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/packages/core/a/text", "inside")
	write(t, dir+"/packages/core/b/text", "outside")
	for name, target := range map[string]string{"near": "text", "out": "../b/text", "far": dir + "/packages/core/b/text"} {
		if err := os.Symlink(target, filepath.Join(dir, "packages/core/a", name)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Open(t.Context(), dir, Options{KeyFile: t.TempDir() + "/key"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	folder, err := fs.Sub(tree.FS, "packages/core/a")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"text": "inside", "near": "inside", "out": "", "far": "", "../b/text": ""} {
		if data, err := fs.ReadFile(folder, name); string(data) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", name, data, err, want)
		}
	}
	if err := folder.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	if _, err := fs.ReadFile(folder, "text"); err == nil {
		t.Error("it can be read after Close")
	}
	if _, err := fs.Sub(tree.FS, "packages/core/c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestAbsent: that there is no record and that it is of another version of sx are told apart.
func TestAbsent(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/packages/core/a/package.toml", "[package]\nname = \"a\"\nversion = \"1\"\n")
	write(t, dir+"/packages/core/a/Containerfile", "FROM scratch AS package-core-a\n")
	tree, err := Open(t.Context(), dir, Options{KeyFile: t.TempDir() + "/key"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	o := tree.Graph.All()[0]
	_, err = tree.Record(tree.Graph.Output(o))
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*cache.VersionError)) || err.Error() != "there is no record of core-a" {
		t.Errorf("without a record: %v", err)
	}
	write(t, dir+"/.sx/records/core-a.json", `{"version":9,"record":{}}`)
	_, err = tree.Look().Record(tree.Graph.Output(o))
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, new(*cache.VersionError)) {
		t.Errorf("with a record of another version: %v", err)
	}
}
