package cache

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/cache/oci"
)

var annotations = map[string]string{
	"org.opencontainers.image.created": "1970-01-01T00:00:01Z",
	oci.AnnotationName:                 "docker.io/stagex/core-x:1.0 <&>",
	oci.AnnotationRefName:              "1.0 <&>",
}

// The folder is, byte for byte, what BuildKit's oci exporter puts into its tar:
// that is containerd's archive exporter, with these options
// (buildkit: exporter/oci/export.go).
func TestSameAsBuildKit(t *testing.T) {
	i := newImage()
	i.top = i.index(i.manifest(amd64, "one", "two"), i.manifest(arm64, "one", "three"))
	i.top.Annotations = annotations

	var buf bytes.Buffer
	top := ocispec.Descriptor{
		MediaType: i.top.MediaType, Digest: godigest.Digest(i.top.Digest.String()), Size: i.top.Size,
		Annotations: map[string]string{"org.opencontainers.image.created": annotations["org.opencontainers.image.created"]},
	}
	top.Annotations[oci.AnnotationName], top.Annotations[oci.AnnotationRefName] = annotations[oci.AnnotationName], annotations[oci.AnnotationRefName]
	err := archive.Export(t.Context(), provider{i}, &buf,
		archive.WithManifest(top), archive.WithAllPlatforms(), archive.WithSkipDockerManifest())
	if err != nil {
		t.Fatal(err)
	}

	s := newStore(t)
	i.commit(t, s, "core-x")
	if text := diff(untar(t, &buf), files(t, s.Out("core-x"))); text != "" {
		t.Errorf("the folders differ:\n%s", text)
	}
}

func untar(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return all
		}
		data := must(io.ReadAll(tr))(t)
		all[filepath.Clean(h.Name)] = string(data)
		if h.FileInfo().IsDir() {
			all[filepath.Clean(h.Name)] = h.FileInfo().Mode().Type().String()
		}
	}
}

// provider serves an image to containerd.
type provider struct{ i *image }

func (p provider) Info(_ context.Context, d godigest.Digest) (content.Info, error) {
	parsed, err := oci.ParseDigest(d.String())
	return content.Info{Digest: d, Size: int64(len(p.i.blobs[parsed]))}, err
}

func (p provider) ReaderAt(_ context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	parsed, err := oci.ParseDigest(d.Digest.String())
	data, ok := p.i.blobs[parsed]
	if !ok {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return blobReader{bytes.NewReader(data)}, err
}

type blobReader struct{ *bytes.Reader }

func (blobReader) Close() error { return nil }

// realImage has gzip layers and a full config, so that a validator can unpack it.
func realImage(t *testing.T) *image {
	t.Helper()
	source := must(random.Image(4096, 3))(t)
	config := must(source.ConfigFile())(t).DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	source = mutate.MediaType(must(mutate.ConfigFile(source, config))(t), types.OCIManifestSchema1)
	i := newImage()
	i.add("config", must(source.RawConfigFile())(t))
	for _, l := range must(source.Layers())(t) {
		i.add("layer", must(io.ReadAll(must(l.Compressed())(t)))(t))
	}
	m := i.add(oci.MediaTypeManifest, must(source.RawManifest())(t))
	m.Platform = &amd64
	i.top = i.index(m)
	return i
}

// go-containerregistry, which shares no code with this package, reads a committed
// layout and finds every digest, size and diff id right.
func TestOtherToolValidates(t *testing.T) {
	s := newStore(t)
	st := must(s.Stage("core-x"))(t)
	defer st.Close()
	i := realImage(t)
	for d, data := range i.blobs {
		must(0, st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)))(t)
	}
	committed := must(st.Commit(t.Context(), i.top.Descriptor, annotations))(t)

	root := must(layout.ImageIndexFromPath(s.Out("core-x")))(t)
	if err := validate.Index(root); err != nil {
		t.Error(err)
	}
	top := must(root.IndexManifest())(t).Manifests
	if len(top) != 1 || top[0].Digest.String() != committed.Index.String() || top[0].Annotations[oci.AnnotationRefName] != "1.0 <&>" {
		t.Errorf("it reads %+v", top)
	}
	image := must(must(root.ImageIndex(top[0].Digest))(t).IndexManifest())(t).Manifests[0]
	if image.Digest.String() != committed.Digest().String() || image.Platform.String() != "linux/amd64" {
		t.Errorf("it reads %+v", image)
	}
}
