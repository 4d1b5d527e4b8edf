package cache

import (
	"errors"
	"fmt"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// reader reads one layout folder that nobody vouches for.
type reader struct {
	folder, blobs disk.Dir
	index         []byte              // index.json
	asBuilt       bool                // oci-layout has the bytes that a build writes
	verified      map[oci.Digest]bool // blobs that were read and hashed
	stats         *memo.Stats         // is told of damage
}

func (r *reader) close() {
	r.folder.Close()
	r.blobs.Close()
}

// contents is what index.json leads to, short of the images themselves.
type contents struct {
	Layout
	top    oci.AnnotatedDescriptor   // what index.json names
	images []oci.AnnotatedDescriptor // top itself in the one-level form
}

// contents follows index.json as far as the images' digests and platforms.
func (r *reader) contents() (contents, error) {
	top, err := r.top()
	if err != nil {
		return contents{}, fmt.Errorf("parsing index.json: %w", err)
	}
	c := contents{top: top, images: []oci.AnnotatedDescriptor{top}}
	c.Top = oci.DigestOf(r.index)
	c.Name, c.RefName = top.Annotations[oci.AnnotationName], top.Annotations[oci.AnnotationRefName]
	if c.OneLevel = oci.IsManifest(top.MediaType); !c.OneLevel {
		c.Index = top.Digest
		if c.images, err = r.readIndex(top); err != nil {
			return contents{}, fmt.Errorf("parsing image index %s: %w", top.Digest, err)
		}
	}
	for _, d := range c.images {
		if err := r.addImage(&c.Layout, d); err != nil {
			return contents{}, fmt.Errorf("parsing image %s: %w", d.Digest, err)
		}
	}
	if len(c.Manifests) == 0 {
		return contents{}, errors.New("parsing index.json: there is no image in it")
	}
	return c, nil
}

// top returns the one thing that index.json names. BuildKit names it once for each
// of the image's names.
func (r *reader) top() (oci.AnnotatedDescriptor, error) {
	idx, err := oci.ReadIndex(r.index, oci.MediaTypeIndex)
	if err != nil {
		return oci.AnnotatedDescriptor{}, err
	}
	if len(idx.Manifests) == 0 {
		return oci.AnnotatedDescriptor{}, errors.New("it names no image")
	}
	first := idx.Manifests[0]
	for _, d := range idx.Manifests[1:] {
		if d.Descriptor != first.Descriptor {
			return oci.AnnotatedDescriptor{}, fmt.Errorf("it names more than one image: %s and %s", first.Digest, d.Digest)
		}
	}
	if !oci.IsIndex(first.MediaType) && !oci.IsManifest(first.MediaType) {
		return oci.AnnotatedDescriptor{}, fmt.Errorf("media type %.100q is not that of an image", first.MediaType)
	}
	return first, nil
}

// readIndex refuses an index within an index, so nothing can be cyclic.
func (r *reader) readIndex(d oci.AnnotatedDescriptor) ([]oci.AnnotatedDescriptor, error) {
	data, err := r.json(d.Descriptor)
	if err != nil {
		return nil, err
	}
	idx, err := oci.ReadIndex(data, d.MediaType)
	if err != nil {
		return nil, err
	}
	for _, m := range idx.Manifests {
		if !oci.IsManifest(m.MediaType) {
			return nil, fmt.Errorf("media type %.100q of %s is not that of an image manifest", m.MediaType, m.Digest)
		}
	}
	return idx.Manifests, nil
}

// addImage refuses what would make "the first image" or "the image of a platform"
// mean two things.
func (r *reader) addImage(l *Layout, d oci.AnnotatedDescriptor) error {
	p, err := r.platform(d)
	if err != nil {
		return err
	}
	m := oci.Manifest{Digest: d.Digest, Size: d.Size, Platform: p}
	if p == oci.UnknownPlatform {
		l.Attestations = append(l.Attestations, m)
		return nil
	}
	if len(l.Attestations) > 0 {
		return errors.New("it stands after an attestation")
	}
	for _, other := range l.Manifests {
		if oci.SamePlatform(other.Platform, p) {
			return fmt.Errorf("there is another one for %s", p)
		}
	}
	l.Manifests = append(l.Manifests, m)
	return nil
}

// platform is the descriptor's or else, as `docker save` leaves it, the config's.
func (r *reader) platform(d oci.AnnotatedDescriptor) (oci.Platform, error) {
	if d.Platform != nil {
		return d.Platform.Text()
	}
	m, err := r.manifest(d.Descriptor)
	if err != nil {
		return "", err
	}
	return r.configPlatform(m)
}

func (r *reader) configPlatform(m oci.ManifestDocument) (oci.Platform, error) {
	data, err := r.json(m.Config.Descriptor)
	if err != nil {
		return "", fmt.Errorf("reading config: %w", err)
	}
	p, err := oci.ReadConfigPlatform(data)
	if err != nil {
		return "", fmt.Errorf("parsing config %s: %w", m.Config.Digest, err)
	}
	return p, nil
}

func (r *reader) manifest(d oci.Descriptor) (oci.ManifestDocument, error) {
	data, err := r.json(d)
	if err != nil {
		return oci.ManifestDocument{}, err
	}
	return oci.ReadManifest(data, d.MediaType)
}
