package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

func inodeOf(t testing.TB, path string) disk.Inode {
	t.Helper()
	return must(disk.StatPath(path))(t).Inode
}

func TestBlobsAreShared(t *testing.T) {
	s := newStore(t)
	buildImage("common", "one").commit(t, s, "core-one")
	buildImage("common", "two").commit(t, s, "core-two")
	name := filepath.Join("blobs", "sha256", oci.DigestOf([]byte("common")).Hex())
	one, two := filepath.Join(s.Out("core-one"), name), filepath.Join(s.Out("core-two"), name)
	if inodeOf(t, one) != inodeOf(t, two) || inodeOf(t, one) != inodeOf(t, s.Dir(name)) {
		t.Error("the common blob must be one file")
	}
	if a, b := s.Out("core-one/index.json"), s.Out("core-two/index.json"); inodeOf(t, a) == inodeOf(t, b) {
		t.Error("index.json must not be shared")
	}
	path := must(s.BlobPath(oci.DigestOf([]byte("common"))))(t)
	if string(must(os.ReadFile(path))(t)) != "common" {
		t.Error("BlobPath leads elsewhere")
	}
}

// Where links fail, everything works by copies.
func TestLinkFallsBackToCopy(t *testing.T) {
	for _, refusal := range []error{unix.EXDEV, unix.EPERM, unix.EMLINK} {
		s := newStore(t)
		s.link = func(old, name string) error { return &os.LinkError{Op: "link", Old: old, New: name, Err: refusal} }
		buildImage("common", "one").commit(t, s, "core-one")
		buildImage("common", "two").commit(t, s, "core-two")
		must(s.Verify(t.Context(), "core-one"))(t)
		must(s.Verify(t.Context(), "core-two"))(t)
		d := oci.DigestOf([]byte("common"))
		dst := filepath.Join(t.TempDir(), "dst")
		must(0, s.Link(d, dst))(t)
		if st := must(disk.StatPath(dst))(t); st.Mode != 0o444 || st.Nlink != 1 {
			t.Errorf("the copy has mode %o and %d links", st.Mode, st.Nlink)
		}
		st := must(s.Stage("core-three"))(t)
		source := filepath.Join(s.tree, "source")
		write(t, source, []byte("three"))
		must(0, st.LinkBlob(oci.DigestOf([]byte("three")), 5, source))(t)
		if got := must(disk.StatPath(source))(t); got.Mode != 0o644 {
			t.Error("a file that is copied must stay as it is")
		}
		must(0, st.Close())(t)
		if left := files(t, s.Dir("tmp")); len(left) != 0 {
			t.Errorf("left in tmp: %v", left)
		}
	}
}

func TestLink(t *testing.T) {
	s := newStore(t)
	d := oci.DigestOf([]byte("layer"))
	dst := filepath.Join(s.tree, "dst")
	if err := s.Link(d, dst); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	buildImage("layer").commit(t, s, "core-x")
	must(0, s.Link(d, dst))(t)
	if inodeOf(t, dst) != inodeOf(t, s.shared(d)) {
		t.Error("dst is a copy")
	}
	if err := s.Link(d, dst); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
}

func TestLinkBlob(t *testing.T) {
	s := newStore(t)
	st := must(s.Stage("core-x"))(t)
	defer st.Close()
	d := oci.DigestOf([]byte("layer"))
	path := filepath.Join(s.tree, "content")
	write(t, path, []byte("lazer"))
	if err := st.LinkBlob(d, 5, path); err == nil || st.Has(d) {
		t.Error("another file was taken")
	}
	write(t, path+"-2", []byte("layer"))
	must(0, os.Symlink(path+"-2", path+"-3"))(t)
	if err := st.LinkBlob(d, 5, path+"-3"); err == nil {
		t.Error("a link was followed")
	}
	must(0, st.LinkBlob(d, 5, path+"-2"))(t)
	if got := must(disk.StatPath(st.blob(d)))(t); got.Inode != inodeOf(t, path+"-2") || got.Mode != 0o444 {
		t.Errorf("the blob is %+v", got)
	}
	// With the shared blob whole, the path is not looked at.
	other := must(s.Stage("core-y"))(t)
	defer other.Close()
	must(0, other.LinkBlob(d, 5, "/nowhere"))(t)
}

func TestDamagedSharedBlobIsReplaced(t *testing.T) {
	s := newStore(t)
	d := oci.DigestOf([]byte("layer"))
	write(t, s.shared(d), []byte("lazer"))
	if _, err := s.BlobPath(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a damaged blob: %v", err)
	}
	buildImage("layer").commit(t, s, "core-x")
	must(s.BlobPath(d))(t)
	must(s.Verify(t.Context(), "core-x"))(t)
}

func TestAdopt(t *testing.T) {
	s := newStoreLater(t)
	buildImage("layer", "kept").write(t, s.Out("core-x"))
	blobs := filepath.Join(s.Out("core-x"), "blobs", "sha256")
	layer, kept := oci.DigestOf([]byte("layer")), oci.DigestOf([]byte("kept"))
	must(0, os.Link(filepath.Join(blobs, kept.Hex()), filepath.Join(s.tree, "elsewhere")))(t)
	must(s.Import(t.Context(), "core-x"))(t)
	if inodeOf(t, s.shared(layer)) != inodeOf(t, filepath.Join(blobs, layer.Hex())) {
		t.Error("an own blob must be linked")
	}
	if st := must(disk.StatPath(filepath.Join(blobs, layer.Hex())))(t); st.Mode != 0o444 {
		t.Errorf("its mode is %o", st.Mode)
	}
	elsewhere := must(disk.StatPath(filepath.Join(s.tree, "elsewhere")))(t)
	if elsewhere.Mode != 0o644 || inodeOf(t, s.shared(kept)) == elsewhere.Inode {
		t.Error("a writable file with another name must be copied")
	}
	write(t, filepath.Join(s.Out("core-y"), "index.json"), nil)
	if _, err := s.Import(t.Context(), "core-y"); err == nil {
		t.Error("a broken layout was imported")
	}
}

// A layout of sx's own whose shared blobs were removed: Import gives them back, as
// links, and every blob of an attestation too.
func TestAdoptAgain(t *testing.T) {
	s := newStore(t)
	i := newImage()
	i.top = i.index(i.manifest(amd64, "layer"), i.manifest(unknown, "provenance"))
	i.commit(t, s, "core-x")
	must(0, os.RemoveAll(s.Dir("blobs")))(t)
	s = open(t, s.tree)
	l := must(s.Check("core-x"))(t)
	if _, err := s.BlobPath(l.Digest()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check must write nothing: %v", err)
	}
	imported := must(s.Import(t.Context(), "core-x"))(t)
	if text := diff(l, imported); text != "" {
		t.Errorf("Import gives another layout than Check:\n%s", text)
	}
	for d := range i.blobs {
		path := must(s.BlobPath(d))(t)
		if inodeOf(t, path) != inodeOf(t, s.Out("core-x/blobs/sha256/"+d.Hex())) {
			t.Errorf("%s is a copy", d)
		}
	}
}

// One shared blob damaged, another gone.
func TestAdoptReplacesDamaged(t *testing.T) {
	s := newStore(t)
	i := buildImage("layer", "gone")
	i.write(t, s.Out("core-x"))
	layer := s.shared(oci.DigestOf([]byte("layer")))
	write(t, layer, []byte("lazer"))
	must(s.Import(t.Context(), "core-x"))(t)
	before := must(disk.StatPath(s.Dir("blobs", "sha256")))(t)
	must(s.Import(t.Context(), "core-x"))(t)
	if after := must(disk.StatPath(s.Dir("blobs", "sha256")))(t); after != before {
		t.Error("with nothing missing, something was written")
	}
	if string(must(os.ReadFile(layer))(t)) != "layer" {
		t.Error("a damaged blob stays shared")
	}
}
