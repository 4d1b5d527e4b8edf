package bench

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A set of images as a release would have them, but made: each is named by the
// digest of its manifest, and pool layers are in several of them.
type set struct {
	folder string  // of blobs, as go-containerregistry's disk handler keeps them: sha256/<hex>
	images []image // by output
	named  int64   // bytes of the layers, counted for each image that names them
	unique int64   // bytes of the layers, each once
	pool   []layer // what several images share
}

type image struct {
	output, digest string
	manifest       []byte
}

type layer struct {
	digest, diffID string
	size           int64
}

// shape is how large a set is. Of the bytes that images name, own*ownSize/
// (own*ownSize+shared*sharedSize) are theirs alone.
type shape struct {
	images, own, shared, pool int
	ownSize, sharedSize       int64 // of a layer, about, compressed
}

// release is 40 images that name 2 GB, half of it shared: 1.1 GB in all.
var release = shape{images: 40, own: 5, shared: 2, pool: 8, ownSize: 4300 << 10, sharedSize: 10500 << 10}

// makeSet writes a set below folder. The same shape gives the same bytes.
func makeSet(folder string, s shape) (*set, error) {
	if err := os.MkdirAll(filepath.Join(folder, "sha256"), 0o755); err != nil {
		return nil, err
	}
	m := &set{folder: folder}
	seed := uint64(0)
	next := func(size int64) (layer, error) {
		seed++
		l, err := m.layer(seed, size)
		m.unique += l.size
		return l, err
	}
	for range s.pool {
		l, err := next(s.sharedSize)
		if err != nil {
			return nil, err
		}
		m.pool = append(m.pool, l)
	}
	for i := range s.images {
		var layers []layer
		for j := range s.shared {
			layers = append(layers, m.pool[(i+j*3)%s.pool])
		}
		for range s.own {
			l, err := next(s.ownSize)
			if err != nil {
				return nil, err
			}
			layers = append(layers, l)
		}
		if err := m.image(fmt.Sprintf("core-made%02d", i), layers); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// layer makes a layer of about size bytes: one file, of which half is noise and
// half is text, as in programs.
func (m *set) layer(seed uint64, size int64) (layer, error) {
	f, err := os.CreateTemp(m.folder, "layer")
	if err != nil {
		return layer{}, err
	}
	defer f.Close()
	diff, sum := sha256.New(), sha256.New()
	z, err := gzip.NewWriterLevel(io.MultiWriter(f, sum), gzip.BestSpeed)
	if err != nil {
		return layer{}, err
	}
	t := tar.NewWriter(io.MultiWriter(z, diff))
	if err := writeFile(t, seed, 2*size); err != nil {
		return layer{}, err
	}
	if err := z.Close(); err != nil {
		return layer{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return layer{}, err
	}
	l := layer{hex.EncodeToString(sum.Sum(nil)), hex.EncodeToString(diff.Sum(nil)), info.Size()}
	return l, os.Rename(f.Name(), filepath.Join(m.folder, "sha256", l.digest))
}

func writeFile(t *tar.Writer, seed uint64, size int64) error {
	const block = 32 << 10
	size -= size % (2 * block)
	err := t.WriteHeader(&tar.Header{Name: fmt.Sprintf("usr/lib/made%d", seed), Mode: 0o644, Size: size})
	noise := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 's', 'x'})
	data := bytes.Repeat([]byte("made for a benchmark of sx\n"), 2*block/27+1)[:2*block]
	for n := int64(0); n < size && err == nil; n += int64(len(data)) {
		noise.Read(data[:block])
		_, err = t.Write(data)
	}
	if err != nil {
		return err
	}
	return t.Close()
}

// image makes config and manifest as BuildKit does for StageX.
func (m *set) image(output string, layers []layer) error {
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	var diffs []string
	list := []descriptor{}
	for _, l := range layers {
		diffs = append(diffs, "sha256:"+l.diffID)
		list = append(list, descriptor{"application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + l.digest, l.size})
		m.named += l.size
	}
	config, err := m.put(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{}, "created": "1970-01-01T00:00:01Z",
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor{"application/vnd.oci.image.config.v1+json", "sha256:" + digestOf(config), int64(len(config))},
		"layers": list,
		"annotations": map[string]string{
			"org.opencontainers.image.version": "1.0", "org.opencontainers.image.created": "1970-01-01T00:00:01Z",
			"containerd.io/distribution.source.docker.io": "stagex/" + output,
		},
	})
	m.images = append(m.images, image{output, digestOf(data), data})
	return err
}

func (m *set) put(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return data, os.WriteFile(filepath.Join(m.folder, "sha256", digestOf(data)), data, 0o644)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
