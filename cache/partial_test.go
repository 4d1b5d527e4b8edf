package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

func TestPartial(t *testing.T) {
	s := newStore(t)
	want := oci.DigestOf([]byte("the whole blob"))
	p, err := s.Partial(t.Context(), want, func() {})
	if err != nil {
		t.Fatal(err)
	}
	p.Write([]byte("the whole"))
	err = p.Finish()
	var wrong *oci.DigestMismatchError
	if !errors.As(err, &wrong) {
		t.Errorf("half a blob: %v", err)
	}
	p.Close()

	// The next run continues after these bytes.
	s = open(t, s.tree)
	if p, err = s.Partial(t.Context(), want, func() {}); err != nil || p.Size() != int64(len("the whole")) {
		t.Fatalf("%+v, %v", p, err)
	}
	p.Write([]byte(" blob"))
	if err := p.Finish(); err != nil {
		t.Fatal(err)
	}
	p.Close()
	path, err := s.BlobPath(want)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if info.Mode() != 0o444 || !info.ModTime().Equal(blobTime) {
		t.Errorf("the blob is %v of %v", info.Mode(), info.ModTime())
	}
	if left, _ := filepath.Glob(s.Dir("blobs", "partial", "*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if _, err := s.Partial(t.Context(), want, func() {}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a blob that is there: %v", err)
	}
}

// A link or file planted under a partial blob's name is neither followed nor written
// to.
func TestPartialHostile(t *testing.T) {
	s := newStore(t)
	want := oci.DigestOf([]byte("x"))
	if _, err := s.Folder("blobs", "partial"); err != nil {
		t.Fatal(err)
	}
	name, other := s.Dir("blobs", "partial", want.Hex()), filepath.Join(t.TempDir(), "other")
	for what, plant := range map[string]func() error{
		"symbolic link": func() error { return os.Symlink(other, name) },
		"hard link":     func() error { return os.Link(other, name) },
	} {
		write(t, other, []byte("mine"))
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		p, err := s.Partial(t.Context(), want, func() {})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		p.Write([]byte("y"))
		p.Discard()
		if data, _ := os.ReadFile(other); string(data) != "mine" {
			t.Errorf("%s: the other file is %q", what, data)
		}
	}
}
