package cache

import (
	"errors"
	"fmt"
)

// reader reads one layout folder that nobody vouches for.
type reader struct {
	folder, blobs dir
	index         []byte          // index.json
	asBuilt       bool            // oci-layout has the bytes that a build writes
	verified      map[Digest]bool // blobs that were read and hashed
	stats         *Stats          // is told of damage
}

func (r *reader) close() {
	r.folder.close()
	r.blobs.close()
}

// contents is what index.json leads to, short of the images themselves.
type contents struct {
	Layout
	top    descriptor   // what index.json names
	images []descriptor // top itself in the one-level form
}

// contents follows index.json as far as the images' digests and platforms.
func (r *reader) contents() (contents, error) {
	top, err := r.top()
	if err != nil {
		return contents{}, fmt.Errorf("parsing index.json: %w", err)
	}
	c := contents{top: top, images: []descriptor{top}}
	c.Top = DigestOf(r.index)
	c.Name, c.RefName = top.Annotations[AnnotationName], top.Annotations[AnnotationRefName]
	if c.OneLevel = isManifest(top.MediaType); !c.OneLevel {
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
func (r *reader) top() (descriptor, error) {
	idx, err := parseIndex(r.index, MediaTypeIndex)
	if err != nil {
		return descriptor{}, err
	}
	if len(idx.Manifests) == 0 {
		return descriptor{}, errors.New("it names no image")
	}
	first := idx.Manifests[0]
	for _, d := range idx.Manifests[1:] {
		if d.Descriptor != first.Descriptor {
			return descriptor{}, fmt.Errorf("it names more than one image: %s and %s", first.Digest, d.Digest)
		}
	}
	if !isIndex(first.MediaType) && !isManifest(first.MediaType) {
		return descriptor{}, fmt.Errorf("media type %.100q is not that of an image", first.MediaType)
	}
	return first, nil
}

// readIndex refuses an index within an index, so nothing can be cyclic.
func (r *reader) readIndex(d descriptor) ([]descriptor, error) {
	data, err := r.json(d.Descriptor)
	if err != nil {
		return nil, err
	}
	idx, err := parseIndex(data, d.MediaType)
	if err != nil {
		return nil, err
	}
	for _, m := range idx.Manifests {
		if !isManifest(m.MediaType) {
			return nil, fmt.Errorf("media type %.100q of %s is not that of an image manifest", m.MediaType, m.Digest)
		}
	}
	return idx.Manifests, nil
}

// addImage refuses what would make "the first image" or "the image of a platform"
// mean two things.
func (r *reader) addImage(l *Layout, d descriptor) error {
	p, err := r.platform(d)
	if err != nil {
		return err
	}
	m := Manifest{d.Digest, d.Size, p}
	if p == unknownPlatform {
		l.Attestations = append(l.Attestations, m)
		return nil
	}
	if len(l.Attestations) > 0 {
		return errors.New("it stands after an attestation")
	}
	for _, other := range l.Manifests {
		if samePlatform(other.Platform, p) {
			return fmt.Errorf("there is another one for %s", p)
		}
	}
	l.Manifests = append(l.Manifests, m)
	return nil
}

// platform is the descriptor's or else, as `docker save` leaves it, the config's.
func (r *reader) platform(d descriptor) (Platform, error) {
	if d.Platform != nil {
		return d.Platform.text()
	}
	m, err := r.manifest(d.Descriptor)
	if err != nil {
		return "", err
	}
	return r.configPlatform(m)
}

func (r *reader) configPlatform(m manifest) (Platform, error) {
	data, err := r.json(m.Config.Descriptor)
	if err != nil {
		return "", fmt.Errorf("reading config: %w", err)
	}
	p, err := parseConfig(data)
	if err != nil {
		return "", fmt.Errorf("parsing config %s: %w", m.Config.Digest, err)
	}
	return p, nil
}

func (r *reader) manifest(d Descriptor) (manifest, error) {
	data, err := r.json(d)
	if err != nil {
		return manifest{}, err
	}
	return parseManifest(data, d.MediaType)
}
