package imagediff_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
)

// blobs are an image in memory.
type blobs map[oci.Digest][]byte

func (b blobs) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	data, ok := b[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s is missing", d.Digest)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b blobs) add(mediaType string, data []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(data), Size: int64(len(data))}
	b[d.Digest] = data
	return d
}

// file is an entry of a layer.
type file struct {
	tar.Header
	content string
}

// model is an image to be made.
type model struct {
	layers      [][]file
	pack        func(plain []byte) []byte
	after       string // bytes after the end of each tar
	config      map[string]any
	history     []map[string]any
	annotations map[string]string
	layerNotes  map[string]string // annotations of each layer
	manifest    func([]byte) []byte
}

var epoch = time.Unix(1, 0)

func regular(name, content string) file {
	return file{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: epoch, Size: int64(len(content))}, content}
}

func folder(name string) file {
	return file{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}}
}

func link(name, target string) file {
	return file{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: epoch}}
}

// base is what tests change in one respect.
func base() *model {
	return &model{
		layers: [][]file{{
			folder("bin/"), regular("bin/tool", "#!/bin/sh\necho built\nexit 0\n"), link("bin/t", "tool"),
			folder("etc/"), regular("etc/a", "a"), regular("etc/b", "b"), regular("etc/c", "c"),
		}},
		config:      map[string]any{"os": "linux", "architecture": "amd64", "created": "1970-01-01T00:00:01Z", "config": map[string]any{"Env": []string{"PATH=/bin"}}},
		history:     []map[string]any{{"created_by": "COPY . /"}},
		annotations: map[string]string{"org.opencontainers.image.version": "1"},
		pack:        gzipped(gzip.Header{OS: 255}, gzip.DefaultCompression),
	}
}

func gzipped(h gzip.Header, level int) func([]byte) []byte {
	return func(plain []byte) []byte {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, level)
		z.Header = h
		z.Write(plain)
		z.Close()
		return b.Bytes()
	}
}

func tarOf(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := f.Header
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image makes it.
func (m *model) image(t testing.TB, name string) imagediff.Image {
	t.Helper()
	b := blobs{}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var layers []any
	var sums []oci.Digest
	for _, files := range m.layers {
		plain := append(tarOf(t, files), m.after...)
		d := b.add(oci.MediaTypeLayer, m.pack(plain))
		layers = append(layers, map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size, "annotations": m.layerNotes})
		sums = append(sums, oci.DigestOf(plain))
	}
	config := map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": sums}, "history": m.history}
	for k, v := range m.config {
		config[k] = v
	}
	manifest := encode(map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": b.add(oci.MediaTypeConfig, encode(config)),
		"layers": layers, "annotations": m.annotations,
	})
	if m.manifest != nil {
		manifest = m.manifest(manifest)
	}
	return imagediff.Image{Name: name, Root: b.add(oci.MediaTypeManifest, manifest), Blobs: b}
}

// compare returns all differences of two images.
func compare(t testing.TB, a, b imagediff.Image) []imagediff.Difference {
	t.Helper()
	var all []imagediff.Difference
	sum, err := imagediff.Compare(context.Background(), a, b, imagediff.Options{TempDir: t.TempDir()}, func(d imagediff.Difference) error {
		all = append(all, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Equal != (len(all) == 0) || sum.Differences != int64(len(all)) {
		t.Errorf("the sums say %+v of %d differences", sum, len(all))
	}
	return all
}
