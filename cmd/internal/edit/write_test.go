package edit

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// onDisk writes a tree with one package.toml, and returns its root and the file's path.
func onDisk(t *testing.T, text string) (root, path string) {
	t.Helper()
	root = t.TempDir()
	path = filepath.Join(root, "packages/core/x/package.toml")
	for _, dir := range []string{filepath.Dir(path), filepath.Join(root, ".sx/tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return root, path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantOnly wants no other file below root than the package.toml.
func wantOnly(t *testing.T, root string) {
	t.Helper()
	filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(path) != "package.toml" {
			t.Errorf("%s is left", path)
		}
		return nil
	})
}

// The mode and the owner stay, and nothing is left behind, wherever the temporary
// folder is.
func TestWrite(t *testing.T) {
	for _, tmp := range []string{".sx/tmp", "nosuch"} {
		root, path := onDisk(t, "old")
		if os.Geteuid() == 0 {
			if err := os.Chown(path, 1234, 2345); err != nil {
				t.Fatal(err)
			}
		}
		f := File{Path: "packages/core/x/package.toml", Before: []byte("old"), After: []byte("new")}
		if err := f.Write(root, filepath.Join(root, tmp)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o640 || read(t, path) != "new" {
			t.Errorf("%v, %v: %q", info.Mode(), err, read(t, path))
		}
		if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 2345) {
			t.Errorf("it belongs to %d:%d", st.Uid, st.Gid)
		}
		wantOnly(t, root)
	}
}

// What was written meanwhile stays, also if that was after the last look.
func TestWriteChanged(t *testing.T) {
	f := File{Path: "packages/core/x/package.toml", Before: []byte("old"), After: []byte("new")}
	var changed *ChangedError

	root, path := onDisk(t, "an edit")
	if err := f.Write(root, filepath.Join(root, ".sx/tmp")); !errors.As(err, &changed) {
		t.Errorf("%v", err)
	}
	if got := read(t, path); got != "an edit" {
		t.Errorf("it became %q", got)
	}
	wantOnly(t, root)

	for name, edit := range map[string]func(path string) error{
		"in place": func(path string) error { return os.WriteFile(path, []byte("an edit"), 0o640) },
		"by a rename": func(path string) error {
			other := filepath.Join(filepath.Dir(path), "other")
			return errors.Join(os.WriteFile(other, []byte("an edit"), 0o640), os.Rename(other, path))
		},
	} {
		root, path := onDisk(t, "old")
		beforeExchange = func() {
			if err := edit(path); err != nil {
				t.Error(err)
			}
		}
		err := f.Write(root, filepath.Join(root, ".sx/tmp"))
		beforeExchange = nil
		if !errors.As(err, &changed) || read(t, path) != "an edit" {
			t.Errorf("%s: %v, and it is %q", name, err, read(t, path))
		}
		wantOnly(t, root)
	}
}

func TestWriteRefuses(t *testing.T) {
	root, path := onDisk(t, "old")
	f := File{Path: "packages/core/x/package.toml", Before: []byte("old"), After: []byte("new")}
	if err := errors.Join(os.Rename(path, path+".real"), os.Symlink("package.toml.real", path)); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(root, filepath.Join(root, ".sx/tmp")); err == nil || read(t, path) != "old" {
		t.Errorf("a link was followed: %v", err)
	}
}
