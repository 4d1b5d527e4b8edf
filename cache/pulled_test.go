package cache

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"

	"codeberg.org/stagex/sx/cache/memo"
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
	for _, root := range []oci.Digest{index, manifest, index} {
		s.blobs.stats = memo.NewStats(s.Dir("none"), s.key, s.now, s.log) // every blob is hashed anew
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
