package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Image is a whole output held open, so that it can be sent elsewhere: to a registry, or
// into docker. Close it when done. Open is safe for concurrent use.
type Image struct {
	Layout
	Root   oci.Descriptor  // of the image index, or in the one-level form of the manifest
	Images []PlatformImage // one for each of Manifests, in their order

	// Blobs are Root and all that it leads to, each once, and each after all blobs that
	// it names: a registry that takes them in this order never holds a manifest without
	// its blobs.
	Blobs []oci.Descriptor

	reader *layout.Reader
	stats  *memo.Stats
}

// PlatformImage is one image manifest and what it names.
type PlatformImage struct {
	Platform oci.Platform
	Manifest oci.Descriptor
	Config   oci.Descriptor
	Layers   []oci.Descriptor // from the bottom
	Version  string           // org.opencontainers.image.version of the manifest; "" if it has none
}

// Image is Check for a caller that will read the blobs. It does not look for Stray files,
// which are not part of the image.
func (s *outputs) Image(output string) (*Image, error) {
	r, err := s.openLayout(output)
	if err != nil {
		return nil, fmt.Errorf("reading output %q: %w", output, err)
	}
	img, err := readImage(r)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("reading output %q: %w", output, layout.Broken(err))
	}
	img.Output, img.stats = output, s.stats
	return img, nil
}

func readImage(r *layout.Reader) (*Image, error) {
	c, err := r.Check(context.Background(), true)
	if err != nil {
		return nil, err
	}
	img := &Image{Layout: c.Layout, Root: c.Root.Descriptor, reader: r}
	set := oci.BlobSet{Seen: map[oci.Digest]int64{}}
	for i, d := range c.Images {
		m, err := r.Manifest(d.Descriptor)
		if err != nil {
			return nil, fmt.Errorf("parsing image manifest %s: %w", d.Digest, err)
		}
		if err := set.Add(append(append([]oci.AnnotatedDescriptor{}, m.Layers...), m.Config, d)...); err != nil {
			return nil, err
		}
		if i < len(c.Manifests) { // attestations come last
			img.Images = append(img.Images, platformImage(c.Manifests[i].Platform, d, m))
		}
	}
	err = set.Add(c.Root)
	img.Blobs = set.List
	return img, err
}

func platformImage(p oci.Platform, d oci.AnnotatedDescriptor, m oci.ManifestDocument) PlatformImage {
	image := PlatformImage{Platform: p, Manifest: d.Descriptor, Config: m.Config.Descriptor, Version: m.Annotations[oci.AnnotationVersion]}
	for _, l := range m.Layers {
		image.Layers = append(image.Layers, l.Descriptor)
	}
	return image
}

// Open reads one of Blobs. The last Read, the one that reaches the end, fails if the bytes
// are not those that d names.
func (i *Image) Open(d oci.Descriptor) (io.ReadCloser, error) {
	f, err := i.reader.OpenBlob(d)
	if err != nil {
		return nil, fmt.Errorf("reading output %q: %w", i.Output, layout.Broken(err))
	}
	return i.stats.Verified(f, d), nil
}

// Close closes the folder. What Open returned stays readable.
func (i *Image) Close() { i.reader.Close() }

// Import is Check, and makes every blob of the layout a shared blob, those of attestations
// too, so that BlobPath finds them: also if make wrote the layout, or somebody removed the
// shared blobs. If none is missing, nothing is written.
//
// A shared blob is a hard link of the layout's file, whose mode becomes 0444 like that of
// every blob (make leaves that mode, `docker save` does not), if the file belongs to this
// user and has no other name that would change with it. Otherwise it is a copy, and the
// layout's file stays as it is.
func (s *outputs) Import(ctx context.Context, output string) (Layout, error) {
	if s.readOnly != nil {
		return Layout{}, fmt.Errorf("importing output %q: %w", output, s.readOnly)
	}
	if l, ok := s.imported(output); ok {
		return l, nil
	}
	began, remember := s.now(), observe(s.layouts, outName(output))
	var blobs []oci.Descriptor
	l, err := s.withReader(output, func(r *layout.Reader) (layout.Contents, error) {
		c, err := r.Check(ctx, true)
		if err == nil {
			blobs, err = r.Blobs(c)
		}
		if err == nil {
			err = s.shareAll(r, blobs)
		}
		if err == nil {
			c.Stray, err = r.Strays(c)
		}
		return c, err
	})
	if err == nil {
		remember(packLayout(l))
		s.know(l, digestsOf(blobs), began)
	}
	return l, err
}

// imported is Import for a layout that this process has imported or made, if all its shared
// blobs are still there: each output of a tree is a dependency of many.
func (s *outputs) imported(output string) (Layout, bool) {
	value, ok := s.imports.Load(output)
	if !ok || s.layouts == nil {
		return Layout{}, false
	}
	known, now := value.(*known), s.now()
	l, _, ok := s.knownLayout(output)
	if !ok || l.Top != known.top {
		return Layout{}, false
	}
	for _, d := range known.blobs {
		if _, err := s.BlobPath(d); err != nil {
			return Layout{}, false
		}
	}
	s.know(l, known.blobs, now)
	return l, true
}

// know lets imported find l, a layout that was whole, with its shared blobs, at that time.
func (s *outputs) know(l Layout, blobs []oci.Digest, at time.Time) {
	s.imports.Store(l.Output, &known{l.Top, blobs, at})
}

// known is a layout that Import has found or Commit has made.
type known struct {
	top   oci.Digest
	blobs []oci.Digest // all that index.json leads to
	at    time.Time    // when they were last looked at
}

// Dependency is Import for a build from output. What was whole half a minute ago is believed
// if out/ has the same folder still: many are built from one output, and no proof rests on
// the answer. A blob is checked again when it is handed to an engine, and a record names the
// digests that were.
func (s *outputs) Dependency(ctx context.Context, output string) (Layout, error) {
	if l, ok := s.recent(output); ok {
		return l, nil
	}
	return s.Import(ctx, output)
}

// recently is how long Dependency believes what was whole.
const recently = 30 * time.Second

// recent is imported for a layout that was looked at recently.
func (s *outputs) recent(output string) (Layout, bool) {
	value, ok := s.imports.Load(output)
	if !ok || s.layouts == nil {
		return Layout{}, false
	}
	known := value.(*known)
	if since := s.now().Sub(known.at); since < 0 || since >= recently {
		return Layout{}, false
	}
	packed, ok := s.layouts.Glance(outName(output))
	if !ok {
		return Layout{}, false
	}
	l, ok := s.unpackLayout(output, packed)
	return l, ok && l.Top == known.top
}

func digestsOf(blobs []oci.Descriptor) []oci.Digest {
	digests := make([]oci.Digest, len(blobs))
	for i, d := range blobs {
		digests[i] = d.Digest
	}
	return digests
}

func (s *blobs) shareAll(r *layout.Reader, blobs []oci.Descriptor) error {
	imported := false
	for _, d := range blobs {
		if _, err := s.BlobPath(d.Digest); err == nil {
			continue
		}
		if err := s.shareBlob(r, d); err != nil {
			return fmt.Errorf("importing blob %s: %w", d.Digest, err)
		}
		imported = true
	}
	if !imported {
		return nil
	}
	return disk.SyncDir(s.Dir("blobs", "sha256"))
}

func (s *blobs) shareBlob(r *layout.Reader, d oci.Descriptor) error {
	f, err := r.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode != 0o444 && st.Nlink != 1 {
		return s.copyBlob(d.Digest, f, s.shared(d.Digest))
	}
	chmod := func() error { return f.Chmod(0o444) }
	if err := errors.Join(s.stats.Keep(f, 0, chmod), f.Sync()); err != nil {
		return err
	}
	return s.share(d.Digest, f, r.BlobPath(d.Digest))
}
