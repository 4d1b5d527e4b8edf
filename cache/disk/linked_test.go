package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWriteLinked(t *testing.T) {
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, link := range map[string]func(from, to string) error{
		"links":    unix.Link,
		"no links": func(from, to string) error { return unix.EPERM },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			for _, sub := range []string{"tmp", "other"} {
				if err := os.Mkdir(in(sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			others := []string{in("other/a"), in("other/b"), in("other/a")} // one twice
			for _, text := range []string{"old", "new"} {
				if _, err := writeLinked(link, in("x"), others, []byte(text), 0o600, in("tmp"), at); err != nil {
					t.Fatal(err)
				}
				for _, name := range append(others, in("x")) {
					data, err := os.ReadFile(name)
					info, serr := os.Stat(name)
					if err != nil || serr != nil || string(data) != text || info.Mode() != 0o600 {
						t.Errorf("%s is %q, %v, %v", name, data, err, serr)
					}
				}
			}
			if info, err := os.Stat(in("x")); err != nil || !info.ModTime().Equal(at) {
				t.Errorf("its mtime is %v, %v", info.ModTime(), err)
			}
			if left, err := os.ReadDir(in("tmp")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A name that cannot be given keeps path as it was.
func TestWriteLinkedInTheWay(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := WriteLinked(filepath.Join(dir, "x"), []string{folder}, nil, 0o600, dir, time.Now())
	if !errors.As(err, new(*UnsafeError)) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was written: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMakePrivate(t *testing.T) {
	defer unix.Umask(unix.Umask(0o777))
	path := filepath.Join(t.TempDir(), "x")
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if made, err := MakePrivate(path); err != nil || made != want {
			t.Errorf("got %v, %v, want %v", made, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := MakePrivate(path); !errors.As(err, new(*UnsafeError)) {
		t.Errorf("a folder that others may write to: %v", err)
	}
}
