package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

// Whoever sends the blobs on in their order never sends a manifest before what
// it names, and sends nothing twice.
func TestImageListsWhatIsNamedFirst(t *testing.T) {
	s := newStore(t)
	i := newImage()
	i.top = i.index(i.manifest(amd64, "shared", "one"), i.manifest(arm64, "shared", "two"), i.manifest(unknown, "provenance"))
	i.commit(t, s, "core-a")
	img, err := s.Image("core-a")
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if len(img.Images) != 2 || img.Images[1].Platform != "linux/arm64" || len(img.Images[1].Layers) != 2 {
		t.Errorf("images are %+v", img.Images)
	}
	if len(img.Blobs) != len(i.blobs) {
		t.Errorf("%d blobs, want each of the %d once", len(img.Blobs), len(i.blobs))
	}
	at := func(d oci.Descriptor) int { return slices.Index(img.Blobs, d) }
	if at(img.Root) != len(img.Blobs)-1 || !img.Root.IsManifest() {
		t.Errorf("the image index is at %d of %d", at(img.Root), len(img.Blobs))
	}
	for _, p := range img.Images {
		for _, d := range append(p.Layers, p.Config) {
			if at(d) < 0 || at(d) > at(p.Manifest) {
				t.Errorf("%s stands at %d, the manifest that names it at %d", d.Digest, at(d), at(p.Manifest))
			}
		}
	}
	for _, d := range img.Blobs {
		r, err := img.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if r.Close(); err != nil || string(data) != string(i.blobs[d.Digest]) {
			t.Errorf("%s: %d bytes, %v", d.Digest, len(data), err)
		}
	}
}

func TestImageRefusesWhatIsNotWhole(t *testing.T) {
	s := newStore(t)
	if _, err := s.Image("core-a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for no layout", err)
	}
	i := buildImage("layer")
	layer := oci.DigestOf([]byte("layer"))
	i.write(t, filepath.Join(s.tree, "out", "core-a"))
	path := filepath.Join(s.tree, "out", "core-a", "blobs", "sha256", layer.Hex())

	img, err := s.Image("core-a")
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	write(t, path, []byte("LAYER")) // damaged between the look and the reading
	r, err := img.Open(img.Images[0].Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err == nil {
		t.Errorf("read %q without an error", data)
	}
	if _, err := s.Image("core-a"); err == nil {
		t.Error("a damaged layer is no error")
	}
	os.Remove(path)
	if _, err := s.Image("core-a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a missing layer", err)
	}
}
