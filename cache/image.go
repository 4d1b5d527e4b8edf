package cache

import (
	"context"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/cache/oci"
)

// Image is a whole output held open, so that it can be sent elsewhere: to a
// registry, or into docker. Close it when done. Open is safe for concurrent use.
type Image struct {
	Layout
	Root   oci.Descriptor  // what index.json names: the image index, or in the one-level form the manifest
	Images []PlatformImage // one for each of Manifests, in their order

	// Blobs are everything that Root leads to and Root itself, each once, and each
	// after all that it names: a registry that takes them in this order never holds
	// a manifest of what it lacks.
	Blobs []oci.Descriptor

	reader *reader
}

// PlatformImage is one image manifest and what it names.
type PlatformImage struct {
	Platform oci.Platform
	Manifest oci.Descriptor
	Config   oci.Descriptor
	Layers   []oci.Descriptor // from the bottom
	Version  string           // org.opencontainers.image.version of the manifest; "" where it says none
}

// Image is Whole for one who means to read the blobs. What lies in the folder
// beside the layout (Stray) is not looked for: it is no part of the image.
func (s *Store) Image(output string) (*Image, error) {
	r, err := s.openLayout(output)
	if err != nil {
		return nil, fmt.Errorf("reading output %q: %w", output, err)
	}
	img, err := s.image(r)
	if err != nil {
		r.close()
		return nil, fmt.Errorf("reading output %q: %w", output, broken(err))
	}
	img.Output = output
	return img, nil
}

func (s *Store) image(r *reader) (*Image, error) {
	c, err := r.whole(context.Background(), s.stats, true)
	if err != nil {
		return nil, err
	}
	img := &Image{Layout: c.Layout, Root: c.top.Descriptor, reader: r}
	set := oci.BlobSet{Seen: map[oci.Digest]int64{}}
	for i, d := range c.images {
		m, err := r.manifest(d.Descriptor)
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
	err = set.Add(c.top)
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

// Open reads one of Blobs. The last Read, the one that reaches the end, fails
// where the bytes are not those that d names.
func (i *Image) Open(d oci.Descriptor) (io.ReadCloser, error) {
	f, err := i.reader.open(d)
	if err != nil {
		return nil, fmt.Errorf("reading output %q: %w", i.Output, broken(err))
	}
	return i.reader.stats.Verified(f, d), nil
}

// Close lets go of the folder. What Open gave stays readable.
func (i *Image) Close() { i.reader.close() }
