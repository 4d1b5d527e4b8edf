package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

func TestOpenMakesItsFolder(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	s := newStore(t)
	for path := range files(t, s.dir) {
		if info := must(os.Lstat(s.Dir(path)))(t); info.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
	}
	if text := string(must(os.ReadFile(s.Dir(".gitignore")))(t)); text != "*\n" {
		t.Errorf(".gitignore is %q", text)
	}
	if _, err := os.Lstat(s.Out("")); err == nil {
		t.Error("opening must not make out/")
	}
	open(t, s.tree)
}

func TestOpenElsewhere(t *testing.T) {
	tree, other := t.TempDir(), filepath.Join(t.TempDir(), "parent", "state")
	s, err := Open(tree, Options{Dir: other, KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	if info := must(os.Lstat(filepath.Dir(other)))(t); info.Mode().Perm() != 0o700 {
		t.Errorf("its parent has mode %o", info.Mode().Perm())
	}
	buildImage("layer").commit(t, s, "core-x")
	if s.Dir("a", "b") != filepath.Join(other, "a", "b") {
		t.Errorf("the folder is %s", s.Dir())
	}
	if got := must(os.ReadDir(tree))(t); len(got) != 1 || got[0].Name() != "out" {
		t.Errorf("the tree holds %v", got)
	}
}

// A .sx that somebody else prepared is not used, and nothing outside is touched.
func TestOpenRefuses(t *testing.T) {
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "precious"), []byte("x"))
	link := func(path string) error { return os.Symlink(elsewhere, path) }
	shared := func(mode os.FileMode) func(string) error {
		return func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode)) }
	}
	file := func(path string) error { return os.WriteFile(path, nil, 0o600) }
	for _, name := range []string{".sx", ".sx/tmp", ".sx/swap", ".sx/blobs", ".sx/blobs/sha256", ".sx/records", ".sx/proofs", "out"} {
		for how, put := range map[string]func(string) error{
			"link": link, "group-writable": shared(0o770), "world-writable": shared(0o707), "file": file,
		} {
			if name == "out" && how != "link" && how != "file" {
				continue
			}
			tree := t.TempDir()
			path := filepath.Join(tree, name)
			must(0, os.MkdirAll(filepath.Dir(path), 0o700))(t)
			must(0, put(path))(t)
			_, err := Open(tree, Options{KeyFile: tree + ".key"})
			var unsafe *disk.UnsafeError
			if !errors.As(err, &unsafe) || unsafe.Path != path {
				t.Errorf("%s %s: got %v", how, name, err)
			}
			if how == "link" {
				wantError(t, err, "it is a symbolic link, which sx does not follow")
			}
		}
	}
	if len(files(t, elsewhere)) != 1 {
		t.Error("something happened behind a link")
	}
	if _, err := Open(filepath.Join(elsewhere, "absent"), Options{KeyFile: elsewhere + ".key"}); err == nil {
		t.Error("a tree that is not there was opened")
	}
}

func TestOpenRefusesForeignOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, nil)
	st := must(disk.StatPath(path))(t)
	err := disk.CheckOwner(path, st, int(st.Uid)+1, "leave")
	wantError(t, err, fmt.Sprintf("it belongs to user %d, not to you: leave", st.Uid))
}

// What a killed process left is cleared, also where a copied tree brought it.
func TestOpenClearsDead(t *testing.T) {
	s := newStore(t)
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "precious"), []byte("x"))
	buildImage("layer").write(t, s.Dir("tmp", "core-x.dead", "layout"))
	write(t, s.Dir("tmp", ".sx-file"), []byte("half"))
	must(0, os.Symlink(elsewhere, s.Dir("tmp", "link")))(t)
	must(0, os.Symlink(elsewhere, s.Dir("tmp", "core-x.dead", "link")))(t)
	must(0, unix.Mkfifo(s.Dir("tmp", "fifo"), 0o600))(t)
	open(t, s.tree)
	if left := files(t, s.Dir("tmp")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if len(files(t, elsewhere)) != 1 {
		t.Error("something happened behind a link")
	}
}

// The fallback of the swap, broken off between its two renames.
func TestOpenHeals(t *testing.T) {
	s := newStore(t)
	old := buildImage("old").commit(t, s, "core-x")
	must(0, os.Rename(s.Out("core-x"), s.Dir("swap", "core-x")))(t)
	s = open(t, s.tree)
	if l := must(s.Verify(t.Context(), "core-x"))(t); l.Index != old.Index {
		t.Error("the old layout must be put back")
	}
	buildImage("older").write(t, s.Dir("swap", "core-x"))
	write(t, s.Dir("swap", "..x", "f"), nil)
	s = open(t, s.tree)
	if l := must(s.Verify(t.Context(), "core-x"))(t); l.Index != old.Index {
		t.Error("a layout in place must stay")
	}
	if _, err := os.Lstat(s.Dir("swap", "core-x")); err == nil {
		t.Error("the replaced layout must go")
	}
}

func TestTouch(t *testing.T) {
	s := newStore(t)
	for _, output := range []string{"core-a", "core-b"} {
		buildImage("common", output).commit(t, s, output)
	}
	must(0, os.Link(s.Out("core-b/index.json"), filepath.Join(s.tree, "other")))(t)
	when := time.Unix(1234567, 891)
	must(0, s.Touch([]string{"core-a", "core-b"}, when))(t)
	for path := range files(t, s.Out("")) {
		info := must(os.Lstat(s.Out(path)))(t)
		if touched := info.ModTime().Equal(when); touched != (filepath.Base(path) == "index.json") {
			t.Errorf("%s has time %v", path, info.ModTime())
		}
	}
	if info := must(os.Lstat(filepath.Join(s.tree, "other")))(t); info.ModTime().Equal(when) {
		t.Error("another name of index.json was touched")
	}
	must(s.Verify(t.Context(), "core-b"))(t)
	err := s.Touch([]string{"core-none", "core-a"}, when.Add(1))
	wantError(t, err, "core-none")
	if info := must(os.Lstat(s.Out("core-a/index.json")))(t); !info.ModTime().Equal(when.Add(1)) {
		t.Error("one missing output must not keep others from being touched")
	}
}

func TestWriteFile(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	folder, tmp := t.TempDir(), t.TempDir()
	path := filepath.Join(folder, "f")
	for _, text := range []string{"one", "two"} {
		must(0, disk.WriteFile(path, []byte(text), 0o664, tmp))(t)
		if got := must(os.ReadFile(path))(t); string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	if info := must(os.Stat(path))(t); info.Mode().Perm() != 0o664 {
		t.Errorf("the mode is %o", info.Mode().Perm())
	}
	must(0, os.Mkdir(filepath.Join(folder, "d"), 0o755))(t)
	if err := disk.WriteFile(filepath.Join(folder, "d"), nil, 0o644, ""); err == nil {
		t.Error("a folder was replaced")
	}
	if len(files(t, folder)) != 2 || len(files(t, tmp)) != 0 {
		t.Errorf("left: %v, %v", files(t, folder), files(t, tmp))
	}
}
