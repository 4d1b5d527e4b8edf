package buildkit

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// crafted is the result of a build that no engine made.
type crafted struct {
	t     *testing.T
	store *cache.Store
	b     *Builder
}

func newCrafted(t *testing.T) *crafted {
	t.Helper()
	store, err := cache.Open(t.TempDir(), cache.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSink(t.TempDir(), "", store)
	if err != nil {
		t.Fatal(err)
	}
	return &crafted{t, store, &Builder{sink: s, store: store, conn: &Conn{}}}
}

func (c *crafted) blob(mediaType string, data []byte) ocispecs.Descriptor {
	c.t.Helper()
	d := digest.FromBytes(data)
	if err := os.WriteFile(c.b.sink.path(d), data, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return ocispecs.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (c *crafted) json(mediaType string, v any) ocispecs.Descriptor {
	c.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.blob(mediaType, data)
}

// layer has its own text as diff id. It is marked as rewritten, or not.
func (c *crafted) layer(text string, rewrittenTo string) ocispecs.Descriptor {
	l := c.blob(ocispecs.MediaTypeImageLayerGzip, []byte(text))
	if rewrittenTo != "" {
		l.Annotations = map[string]string{rewritten: rewrittenTo}
	}
	return l
}

func (c *crafted) image(layers ...ocispecs.Descriptor) ocispecs.Descriptor {
	cfg := ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}}
	for _, l := range layers {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.Digest)
	}
	m := ocispecs.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageManifest}
	m.Config, m.Layers = c.json(ocispecs.MediaTypeImageConfig, cfg), layers
	d := c.json(ocispecs.MediaTypeImageManifest, m)
	d.Platform = &cfg.Platform
	return d
}

// on has an index say of an image what it is for.
func on(platform string, image ocispecs.Descriptor) ocispecs.Descriptor {
	p := platforms.MustParse(platform)
	image.Platform = &p
	return image
}

func (c *crafted) index(manifests ...ocispecs.Descriptor) ocispecs.Descriptor {
	return c.json(ocispecs.MediaTypeImageIndex, ocispecs.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageIndex, Manifests: manifests,
	})
}

// collect does what Build does with an engine's answer for linux/amd64, or what else
// was asked.
func (c *crafted) collect(top ocispecs.Descriptor, base map[digest.Digest]struct{}, asked ...string) (*Image, error) {
	c.t.Helper()
	into, err := c.store.Stage("core-x")
	if err != nil {
		c.t.Fatal(err)
	}
	defer into.Close()
	raw, err := json.Marshal(top)
	if err != nil {
		c.t.Fatal(err)
	}
	if asked == nil {
		asked = []string{"linux/amd64"}
	}
	job := Job{Into: into, Request: graph.Request{Platforms: asked, Tags: []string{"stagex/core-x:1.2"}}}
	return c.b.collect(c.t.Context(), job, contents{layers: base}, map[string]string{
		"containerimage.descriptor": base64.StdEncoding.EncodeToString(raw),
	})
}

func TestCollect(t *testing.T) {
	c := newCrafted(t)
	top := c.index(c.image(c.layer("a", "1"), c.layer("b", "1")))
	img, err := c.collect(top, nil)
	if err != nil {
		t.Fatal(err)
	}
	if img.Index.Digest != top.Digest || img.Annotations["io.containerd.image.name"] != "docker.io/stagex/core-x:1.2" ||
		img.Annotations[ocispecs.AnnotationRefName] != "1.2" {
		t.Errorf("got %+v", img)
	}
}

// TestLayerTwice: an image may have a layer twice, which is taken once. If it is damaged
// the error says so, whichever of the layers that are taken at once fails first.
func TestLayerTwice(t *testing.T) {
	c := newCrafted(t)
	for range 20 {
		twice, other := c.layer("twice", "1"), c.layer("other", "1")
		top := c.index(c.image(twice, other, twice, other))
		if err := os.WriteFile(c.b.sink.path(twice.Digest), []byte("other bytes"), 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *oci.DamagedError
		if _, err := c.collect(top, nil); !errors.As(err, &damaged) || damaged.Digest.String() != twice.Digest.String() {
			t.Fatalf("got %v, want that %s is damaged", err, twice.Digest)
		}
	}
	twice := c.layer("twice", "1")
	if _, err := c.collect(c.index(c.image(twice, twice)), nil); err != nil {
		t.Error(err)
	}
}

// BuildKit only warns when it could not rewrite a layer's times.
func TestUnrewritten(t *testing.T) {
	c := newCrafted(t)
	good, bad := c.layer("good", "1"), c.layer("bad", "")
	_, err := c.collect(c.index(c.image(good, bad)), nil)
	var unrewritten *UnrewrittenError
	if !errors.As(err, &unrewritten) || unrewritten.Layer != bad.Digest {
		t.Errorf("got %v, want an *UnrewrittenError of %s", err, bad.Digest)
	}
	base := map[digest.Digest]struct{}{bad.Digest: {}}
	if _, err := c.collect(c.index(c.image(bad, good)), base); err != nil {
		t.Errorf("a layer of the base image is not rewritten again: %v", err)
	}
	second := on("linux/arm64", c.image(bad))
	if _, err := c.collect(c.index(c.image(good), second), nil, "linux/arm64", "linux/amd64"); !errors.As(err, &unrewritten) {
		t.Errorf("in the second platform: %v", err)
	}
}

// What the engine sends is checked before anything of it counts.
func TestCollectLies(t *testing.T) {
	c := newCrafted(t)
	img := c.image(c.layer("a", "1"))
	lying := c.index(img, img)
	if err := os.WriteFile(c.b.sink.path(lying.Digest), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := c.index(c.image(c.layer("gone", "1")))
	if err := os.Remove(c.b.sink.path(digest.FromString("gone"))); err != nil {
		t.Fatal(err)
	}
	short := ocispecs.Manifest{MediaType: ocispecs.MediaTypeImageManifest, Layers: []ocispecs.Descriptor{c.layer("s", "1")}}
	short.Config = c.json(ocispecs.MediaTypeImageConfig, ocispecs.Image{})
	other := c.image(c.layer("b", "1"))
	unsaid := img
	unsaid.Platform = nil
	hostile := img
	hostile.Digest = "sha256:../../../../etc/passwd"
	for what, top := range map[string]ocispecs.Descriptor{
		"a manifest at the top":  img,
		"an index in an index":   c.index(c.index(img)),
		"other bytes":            lying,
		"a missing layer":        gone,
		"more layers than ids":   c.index(c.json(ocispecs.MediaTypeImageManifest, short)),
		"a digest that is a way": c.index(hostile),
		"no image":               c.index(),
		"no platform":            c.index(unsaid),
		"another platform":       c.index(on("linux/arm64", img)),
		"one more platform":      c.index(img, on("linux/arm64", other)),
		"what some would take":   c.index(img, on("linux/amd64/v2", other)),
		"an attestation":         c.index(img, on("unknown/unknown", other)),
	} {
		if got, err := c.collect(top, nil); err == nil {
			t.Errorf("%s is taken: %+v", what, got)
		}
	}
	if _, err := c.collect(c.index(on("linux/arm64/v8", img)), nil, "linux/arm64"); err != nil {
		t.Errorf("a variant that goes without saying: %v", err)
	}
	for _, answer := range []string{"", "?", base64.StdEncoding.EncodeToString([]byte("nonsense"))} {
		if _, err := c.b.collect(c.t.Context(), Job{}, contents{}, map[string]string{"containerimage.descriptor": answer}); err == nil {
			t.Errorf("the answer %q is taken", answer)
		}
	}
}

// The sink links what the engine has, and takes the rest as it comes.
func TestSink(t *testing.T) {
	contentDir, root := t.TempDir(), t.TempDir()
	s, err := newSink(root, contentDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("blob")
	desc := ocispecs.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := os.WriteFile(filepath.Join(contentDir, desc.Digest.Encoded()), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := s.Writer(t.Context(), content.WithRef("r"), content.WithDescriptor(desc))
		if !errdefs.IsAlreadyExists(err) {
			t.Errorf("a blob of the engine: %v, want AlreadyExists", err)
		}
	}
	a, errA := os.Stat(s.path(desc.Digest))
	b, errB := os.Stat(filepath.Join(contentDir, desc.Digest.Encoded()))
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("it is no hard link: %v, %v", errA, errB)
	}
	other := []byte("other")
	odesc := ocispecs.Descriptor{Digest: digest.FromBytes(other), Size: int64(len(other))}
	if err := content.WriteBlob(t.Context(), s, "o", strings.NewReader("other"), odesc); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(s.path(odesc.Digest)); string(got) != "other" || err != nil {
		t.Errorf("a blob that comes by the session: %q, %v", got, err)
	}
}

// The engine reads the dependencies of running builds, and nothing else.
func TestBlobs(t *testing.T) {
	c := newCrafted(t)
	into, err := c.store.Stage("core-dep")
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	d := oci.DigestOf([]byte("secret"))
	if err := into.WriteBlob(d, 6, strings.NewReader("secret")); err != nil {
		t.Fatal(err)
	}
	b := &blobs{store: c.store, known: map[oci.Digest]struct{}{}}
	ociStore := digest.Digest(d.String())
	if _, err := b.Info(t.Context(), ociStore); !errdefs.IsNotFound(err) {
		t.Errorf("before it is offered: %v", err)
	}
	b.offer([]oci.Digest{d})
	if info, err := b.Info(t.Context(), ociStore); err != nil || info.Size != 6 {
		t.Errorf("Info: %+v, %v", info, err)
	}
	r, err := b.ReaderAt(t.Context(), ocispecs.Descriptor{Digest: ociStore})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, 6)
	if _, err := r.ReadAt(buf, 0); err != nil || string(buf) != "secret" {
		t.Errorf("ReadAt: %q, %v", buf, err)
	}
	for _, bad := range []digest.Digest{"", "sha256:x", "../../etc/passwd", digest.FromString("other")} {
		if _, err := b.ReaderAt(t.Context(), ocispecs.Descriptor{Digest: bad}); err == nil || errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q can be read: %v", bad, err)
		}
	}
	if err := b.Delete(t.Context(), ociStore); !errdefs.IsPermissionDenied(err) {
		t.Errorf("Delete: %v", err)
	}
}

// TestSinkClose: close waits until the last blob is written, but no longer than its bound, and
// refuses new blobs.
func TestSinkClose(t *testing.T) {
	store, err := cache.Open(t.TempDir(), cache.Options{KeyFile: t.TempDir() + "/key"})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	s, err := newSink(t.TempDir(), "", store)
	must(t, err)
	w, err := s.Writer(t.Context(), content.WithRef("one"), content.WithDescriptor(ocispecs.Descriptor{Digest: digest.FromString("one"), Size: 3}))
	must(t, err)
	closed := make(chan struct{})
	go func() {
		s.close(time.Minute)
		close(closed)
	}()
	for s.begin() {
		s.arriving.Done()
		runtime.Gosched()
	}
	if _, err := s.Writer(t.Context(), content.WithRef("two"), content.WithDescriptor(ocispecs.Descriptor{Digest: digest.FromString("two"), Size: 3})); !errdefs.IsUnavailable(err) {
		t.Errorf("a blob after the end: %v", err)
	}
	select {
	case <-closed:
		t.Error("closed while a blob arrived")
	default:
	}
	must(t, w.Close())
	must(t, w.Close())
	<-closed

	s, err = newSink(t.TempDir(), "", store)
	must(t, err)
	_, err = s.Writer(t.Context(), content.WithRef("stuck"), content.WithDescriptor(ocispecs.Descriptor{Digest: digest.FromString("one"), Size: 3}))
	must(t, err)
	s.close(time.Millisecond) // it ends
}
