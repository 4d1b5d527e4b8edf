package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/fstest"
)

// newBeneath returns the FS of a folder with links of every kind, os.Root's of the
// same, and the folder.
func newBeneath(t *testing.T) (tree *beneath, own fs.ReadLinkFS, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "tree")
	place(t, dir+"/a/b/file", "inside")
	place(t, dir+"/top", "top")
	place(t, dir+"/../secret", "secret")
	place(t, dir+"/../folder/secret", "secret")
	for name, target := range map[string]string{
		"link": "a/b/file", "a/up": "../top", "folder": "a/b", "gone": "nowhere", "loop": "loop",
		"out": "../secret", "a/out": "../../secret", "round": "a/../../tree/top", "absolute": dir + "/../secret",
		"own": dir + "/top", "outfolder": "../folder", "chain": "out", "proc": "/proc/self/exe",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, closeFS := beneathRoot(root)
	t.Cleanup(func() { closeFS(); root.Close() })
	tree, ok := got.(*beneath)
	if !ok {
		t.Fatal("this kernel has no openat2, or something forbids it")
	}
	return tree, root.FS().(fs.ReadLinkFS), dir
}

// TestBeneathIsRoots does everything by both, with paths that lead out and paths
// that do not: results and errors are the same.
func TestBeneathIsRoots(t *testing.T) {
	tree, own, _ := newBeneath(t)
	info := func(i fs.FileInfo, err error) string {
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(i.Name(), i.Mode(), i.Size(), i.ModTime())
	}
	list := func(tree fs.FS, name string) (text string) {
		entries, err := fs.ReadDir(tree, name)
		for _, e := range entries {
			text += fmt.Sprintln(e.Name(), e.Type(), info(e.Info()))
		}
		return fmt.Sprint(text, err)
	}
	read := func(tree fs.FS, name string) string {
		f, err := tree.Open(name)
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		data, err := io.ReadAll(f)
		return fmt.Sprintf("%q %v", data, err)
	}
	for _, name := range []string{
		".", "top", "a", "a/b", "a/b/file", "a/b/none", "top/x", "none/x",
		"link", "a/up", "folder", "folder/file", "gone", "loop", "loop/x",
		"out", "a/out", "round", "absolute", "own", "outfolder", "outfolder/secret", "chain", "proc",
		"..", "../secret", "/etc/passwd", "a/../top", "./top", "a//b", "a/", "",
	} {
		for what, do := range map[string]func(fs.FS) string{
			"read":  func(tree fs.FS) string { return read(tree, name) },
			"list":  func(tree fs.FS) string { return list(tree, name) },
			"stat":  func(tree fs.FS) string { return info(fs.Stat(tree, name)) },
			"lstat": func(tree fs.FS) string { return info(fs.Lstat(tree, name)) },
			"readlink": func(tree fs.FS) string {
				target, err := fs.ReadLink(tree, name)
				return fmt.Sprint(target, err)
			},
		} {
			if got, want := do(tree), do(own); got != want {
				t.Errorf("%s %q:\n%s\nos.Root has\n%s", what, name, got, want)
			}
		}
	}
}

func TestBeneathIsAnFS(t *testing.T) {
	dir := t.TempDir()
	place(t, dir+"/a/b/file", "inside")
	place(t, dir+"/top", "top")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tree, closeFS := beneathRoot(root)
	defer closeFS()
	if err := fstest.TestFS(tree, "a/b/file", "top"); err != nil {
		t.Error(err)
	}
}

// TestBeneathInARace has a folder replaced by a link that leads out, and back, all
// the time while a file in it is read.
func TestBeneathInARace(t *testing.T) {
	tree, _, dir := newBeneath(t)
	place(t, dir+"/a/b/secret", "inside")
	var stop atomic.Bool
	swapped := make(chan error)
	go func() {
		var err error
		for !stop.Load() && err == nil {
			err = errors.Join(os.Rename(dir+"/a/b", dir+"/a/b.old"), os.Symlink("../../folder", dir+"/a/b"),
				os.Remove(dir+"/a/b"), os.Rename(dir+"/a/b.old", dir+"/a/b"))
		}
		swapped <- err
	}()
	read := map[string]int{}
	for n := 0; n < 3000 || read["inside"] == 0; n++ {
		data, _ := fs.ReadFile(tree, "a/b/secret")
		read[string(data)]++
	}
	stop.Store(true)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if read["secret"] > 0 {
		t.Errorf("read %v", read)
	}
}

// place writes a file, and makes its folder.
func place(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
