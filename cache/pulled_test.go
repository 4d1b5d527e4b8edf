package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

// share puts data among the shared blobs.
func shareBlob(t *testing.T, s *Store, data []byte) oci.Descriptor {
	t.Helper()
	into := must(s.Stage("core-x"))(t)
	defer into.Close()
	d := oci.Descriptor{Digest: oci.DigestOf(data), Size: int64(len(data))}
	must(0, into.WriteBlob(d.Digest, d.Size, bytes.NewReader(data)))(t)
	return d
}

// foreignImage puts an image of one layer for linux/amd64 and an index of it among
// the shared blobs.
func foreignImage(t *testing.T, s *Store, content string) (index, manifest, layer oci.Digest) {
	t.Helper()
	encode := func(v any) []byte { return must(json.Marshal(v))(t) }
	l := shareBlob(t, s, []byte(content))
	l.MediaType = oci.MediaTypeLayer
	c := shareBlob(t, s, encode(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"diff_ids": []oci.Digest{l.Digest}}}))
	c.MediaType = oci.MediaTypeConfig
	m := shareBlob(t, s, encode(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": c, "layers": []oci.Descriptor{l}}))
	data, _, err := oci.ImageIndex(oci.Manifest{Digest: m.Digest, Size: m.Size, Platform: "linux/amd64"})
	must(0, err)(t)
	return shareBlob(t, s, data).Digest, m.Digest, l.Digest
}

// TestPulled: an image is there once all of it is, and never again once a byte of it
// changed.
func TestPulled(t *testing.T) {
	s := newStore(t)
	index, manifest, layer := foreignImage(t, s, "a layer")
	for _, root := range []oci.Digest{index, manifest} {
		p := must(s.Pulled(root, []string{"linux/amd64"}))(t)
		if p.Root != root || p.Images[0].Manifest.Digest != manifest || p.Images[0].Layers[0].Digest != layer {
			t.Errorf("%+v", p)
		}
	}
	if _, err := s.Pulled(index, []string{"linux/arm64"}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another platform: %v", err)
	}
	path := s.Dir("blobs", "sha256", layer.Hex())
	must(0, os.Chmod(path, 0o644))(t)
	must(0, os.WriteFile(path, []byte("a lawyer"), 0o644))(t)
	if _, err := s.Pulled(index, []string{"linux/amd64"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("damaged: %v", err)
	}
}

// TestWasteOfImages: blobs of images that the tree names stay, those of others go.
func TestWasteOfImages(t *testing.T) {
	s := newStore(t)
	index, manifest, layer := foreignImage(t, s, "a layer")
	_, _, other := foreignImage(t, s, "another")
	none := func(string) bool { return false }
	gone := map[string]bool{}
	for _, path := range must(s.FindWaste(none, index))(t).Blobs {
		gone[path] = true
	}
	for _, d := range []oci.Digest{index, manifest, layer} {
		if gone[s.Dir("blobs", "sha256", d.Hex())] {
			t.Errorf("%s of an image that is named goes", d)
		}
	}
	if !gone[s.Dir("blobs", "sha256", other.Hex())] {
		t.Errorf("a layer of an image that is not named stays")
	}
	if n := len(must(s.FindWaste(none))(t).Blobs); n != 8 {
		t.Errorf("%d blobs go if no image is named, want 8", n)
	}
}
