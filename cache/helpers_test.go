package cache

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/oci"
)

// open opens a store on tree, its key beside the tree.
func open(t testing.TB, tree string) *Store {
	t.Helper()
	s, err := Open(tree, Options{KeyFile: tree + ".key", Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newStore(t testing.TB) *Store {
	t.Helper()
	return open(t, filepath.Join(mkdir(t, t.TempDir(), "tree")))
}

func mkdir(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// image is a layout in memory.
type image struct {
	blobs map[oci.Digest][]byte
	top   oci.AnnotatedDescriptor
}

func newImage() *image { return &image{blobs: map[oci.Digest][]byte{}} }

func (i *image) add(mediaType string, data []byte) oci.AnnotatedDescriptor {
	d := oci.DigestOf(data)
	i.blobs[d] = data
	return oci.AnnotatedDescriptor{Descriptor: oci.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}}
}

func (i *image) json(mediaType string, v any) oci.AnnotatedDescriptor {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return i.add(mediaType, data)
}

// manifest adds an image for a platform, its layers being the given texts.
func (i *image) manifest(p oci.PlatformFields, layers ...string) oci.AnnotatedDescriptor {
	m := map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest}
	m["config"] = i.json("application/vnd.oci.image.config.v1+json", p)
	list := []oci.AnnotatedDescriptor{}
	for _, text := range layers {
		list = append(list, i.add("application/vnd.oci.image.layer.v1.tar+gzip", []byte(text)))
	}
	m["layers"] = list
	d := i.json(oci.MediaTypeManifest, m)
	d.Platform = &p
	return d
}

func (i *image) index(manifests ...oci.AnnotatedDescriptor) oci.AnnotatedDescriptor {
	return i.json(oci.MediaTypeIndex, oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: manifests})
}

var (
	amd64   = oci.PlatformFields{OS: "linux", Architecture: "amd64"}
	arm64   = oci.PlatformFields{OS: "linux", Architecture: "arm64"}
	unknown = oci.PlatformFields{OS: "unknown", Architecture: "unknown"}
)

// buildImage is a two-level image for linux/amd64.
func buildImage(layers ...string) *image {
	i := newImage()
	i.top = i.index(i.manifest(amd64, layers...))
	return i
}

// write leaves the image as another tool would: plain files in a folder.
func (i *image) write(t testing.TB, folder string) {
	t.Helper()
	data, err := oci.IndexJSON(i.top.Descriptor, i.top.Annotations)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "oci-layout"), []byte(layout.VersionFile))
	write(t, filepath.Join(folder, "index.json"), data)
	for d, data := range i.blobs {
		write(t, filepath.Join(folder, "blobs", "sha256", d.Hex()), data)
	}
}

// commit stages the image and commits it.
func (i *image) commit(t testing.TB, s *Store, output string) Layout {
	t.Helper()
	st, err := s.Stage(output)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for d, data := range i.blobs {
		if err := st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := st.Commit(t.Context(), i.top.Descriptor, i.top.Annotations)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newStoreLater opens a store whose clock is a minute ahead, so that no file is too
// young to remember its sum.
func newStoreLater(t testing.TB) *Store {
	t.Helper()
	tree := mkdir(t, t.TempDir(), "tree")
	return must(Open(tree, Options{KeyFile: tree + ".key", Now: later, Log: zaptest.NewLogger(t)}))(t)
}

func later() time.Time { return time.Now().Add(time.Minute) }

func wantError(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want one with %q", err, text)
	}
}

// files lists what lies in a folder: path → content, or what else it is.
func files(t testing.TB, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		rel, _ := filepath.Rel(folder, path)
		all[rel] = e.Type().String()
		if e.Type().IsRegular() {
			data, err := os.ReadFile(path)
			all[rel] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func diff[T any](want, got T) string {
	return cmp.Diff(want, got,
		cmp.Comparer(func(a, b oci.Digest) bool { return a == b }),
		cmp.Comparer(func(a, b Key) bool { return a == b }))
}
