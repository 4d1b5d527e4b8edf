package layout

import (
	"errors"
	"fmt"

	"codeberg.org/stagex/sx/cache/oci"
)

// Contents is a Layout with the descriptors that lead to its blobs.
type Contents struct {
	Layout
	Root   oci.AnnotatedDescriptor   // the image that index.json names
	Images []oci.AnnotatedDescriptor // of the image index; Root itself in the one-level form
}

// Contents follows index.json to the digests and platforms of the images. It reads
// neither layers nor, unless an image's platform is found only there, configs.
func (r *Reader) Contents() (Contents, error) {
	root, err := r.root()
	if err != nil {
		return Contents{}, fmt.Errorf("parsing index.json: %w", err)
	}
	c := Contents{Root: root, Images: []oci.AnnotatedDescriptor{root}}
	c.Top = oci.DigestOf(r.index)
	c.Name, c.RefName = root.Annotations[oci.AnnotationName], root.Annotations[oci.AnnotationRefName]
	if c.OneLevel = oci.IsManifest(root.MediaType); !c.OneLevel {
		c.Index = root.Digest
		if c.Images, err = r.readIndex(root); err != nil {
			return Contents{}, fmt.Errorf("parsing image index %s: %w", root.Digest, err)
		}
	}
	for _, d := range c.Images {
		if err := r.addImage(&c.Layout, d); err != nil {
			return Contents{}, fmt.Errorf("parsing image %s: %w", d.Digest, err)
		}
	}
	if len(c.Manifests) == 0 {
		return Contents{}, errors.New("parsing index.json: there is no image in it")
	}
	return c, nil
}

// root returns the one image that index.json names. BuildKit repeats it for each of the
// image's names.
func (r *Reader) root() (oci.AnnotatedDescriptor, error) {
	idx, err := r.top()
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

// readIndex refuses an index within an index, so that following it ends.
func (r *Reader) readIndex(d oci.AnnotatedDescriptor) ([]oci.AnnotatedDescriptor, error) {
	data, err := r.document(d.Descriptor)
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

// addImage refuses an image that would make "the first image" or "the image of a
// platform" ambiguous.
func (r *Reader) addImage(l *Layout, d oci.AnnotatedDescriptor) error {
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
		return errors.New("it comes after an attestation")
	}
	for _, other := range l.Manifests {
		if oci.SamePlatform(other.Platform, p) {
			return fmt.Errorf("there is another one for %s", p)
		}
	}
	l.Manifests = append(l.Manifests, m)
	return nil
}

// platform returns the descriptor's platform or, if it has none, as after `docker save`,
// the config's.
func (r *Reader) platform(d oci.AnnotatedDescriptor) (oci.Platform, error) {
	if d.Platform != nil {
		return d.Platform.Text()
	}
	m, err := r.Manifest(d.Descriptor)
	if err != nil {
		return "", err
	}
	return r.configPlatform(m)
}

func (r *Reader) configPlatform(m oci.ManifestDocument) (oci.Platform, error) {
	data, err := r.document(m.Config.Descriptor)
	if err != nil {
		return "", fmt.Errorf("reading config: %w", err)
	}
	p, err := oci.ReadConfigPlatform(data)
	if err != nil {
		return "", fmt.Errorf("parsing config %s: %w", m.Config.Digest, err)
	}
	return p, nil
}

// Manifest reads an image manifest, once. The caller must not change it.
func (r *Reader) Manifest(d oci.Descriptor) (oci.ManifestDocument, error) {
	if m, ok := r.manifests[d]; ok {
		return m, nil
	}
	data, err := r.document(d)
	if err != nil {
		return oci.ManifestDocument{}, err
	}
	m, err := oci.ReadManifest(data, d.MediaType)
	if err == nil {
		r.manifests[d] = m
	}
	return m, err
}

// CheckPlatforms compares each image's config with the platform that the index gives.
func (r *Reader) CheckPlatforms(c Contents) error {
	for _, d := range c.Images {
		claimed, err := r.platform(d)
		if err != nil {
			return err
		}
		if claimed == oci.UnknownPlatform {
			continue
		}
		m, err := r.Manifest(d.Descriptor)
		if err != nil {
			return err
		}
		actual, err := r.configPlatform(m)
		if err != nil {
			return err
		}
		if !oci.SamePlatform(actual, claimed) {
			return fmt.Errorf("image %s is listed for %s, but its config says %s", d.Digest, claimed, actual)
		}
	}
	return nil
}
