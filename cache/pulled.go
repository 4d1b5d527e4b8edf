package cache

import (
	"errors"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/cache/oci"
)

// Pulled is an image of another registry, as far as some platforms need it. It is kept
// among the shared blobs and nowhere else: its digest leads to all of it.
type Pulled struct {
	Root   oci.Digest       // of the image index or the image manifest, as a definition names it
	Images []PlatformImage  // one for each platform, distinct, in the order asked for
	Blobs  []oci.Descriptor // all that Images need and Root itself, each once
}

// Pulled follows the digest of an image of another registry as far as platforms need it.
// The error is fs.ErrNotExist if a blob is missing or damaged; any other error is a fault
// of the image.
func (s *blobs) Pulled(root oci.Digest, platforms []oci.Platform) (Pulled, error) {
	p, err := s.pulled(root, platforms)
	if err != nil {
		return Pulled{}, fmt.Errorf("reading image %s: %w", root, err)
	}
	return p, nil
}

func (s *blobs) pulled(digest oci.Digest, platforms []oci.Platform) (Pulled, error) {
	data, err := s.document(digest)
	if err != nil {
		return Pulled{}, err
	}
	root, err := oci.ParseRoot(data)
	if err != nil {
		return Pulled{}, err
	}
	top := oci.Descriptor{MediaType: root.MediaType, Digest: digest, Size: int64(len(data))}
	p, set := Pulled{Root: digest}, oci.BlobSet{Seen: map[oci.Digest]int64{}}
	for _, platform := range platforms {
		d, m := top, root.Manifest
		if root.IsIndex() {
			if d, m, err = s.platformManifest(root, platform); err != nil {
				return Pulled{}, err
			}
		}
		if err := s.checkPulled(m, platform); err != nil {
			return Pulled{}, err
		}
		p.Images = append(p.Images, PlatformImage{Platform: platform, Manifest: d, Config: m.Config, Layers: m.Layers, Version: m.Version})
		for _, blob := range append([]oci.Descriptor{d, m.Config}, m.Layers...) {
			if err := set.Add(oci.AnnotatedDescriptor{Descriptor: blob}); err != nil {
				return Pulled{}, err
			}
		}
	}
	err = set.Add(oci.AnnotatedDescriptor{Descriptor: top})
	p.Blobs = set.List
	return p, err
}

func (s *blobs) platformManifest(root oci.Root, p oci.Platform) (oci.Descriptor, oci.ImageManifest, error) {
	d, err := root.Image(p)
	if err != nil {
		return d, oci.ImageManifest{}, err
	}
	data, err := s.document(d.Digest)
	if err != nil {
		return d, oci.ImageManifest{}, err
	}
	if int64(len(data)) != d.Size {
		return d, oci.ImageManifest{}, fmt.Errorf("manifest %s has %d bytes, the image index says %d", d.Digest, len(data), d.Size)
	}
	m, err := oci.ParseForeign(data, d.MediaType)
	return d, m, err
}

// checkPulled compares the blobs of an image with its manifest, and its config with the
// wanted platform.
func (s *blobs) checkPulled(m oci.ImageManifest, p oci.Platform) error {
	data, err := s.document(m.Config.Digest)
	if err != nil {
		return err
	}
	if err := m.CheckConfig(data, p); err != nil {
		return err
	}
	for _, l := range m.Layers {
		f, err := s.openShared(l.Digest)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return err
		}
		if info.Size() != l.Size {
			return fmt.Errorf("layer %s has %d bytes, its manifest says %d", l.Digest, info.Size(), l.Size)
		}
	}
	return nil
}

// document reads a shared blob that is an index, a manifest or a config.
func (s *blobs) document(d oci.Digest) ([]byte, error) {
	f, err := s.openShared(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, oci.MaxDocument+1)) // openShared may have read to the end
	switch {
	case err != nil:
		return nil, err
	case len(data) > oci.MaxDocument:
		return nil, fmt.Errorf("blob %s has more than %d bytes", d, oci.MaxDocument)
	case oci.DigestOf(data) != d:
		return nil, fmt.Errorf("blob %s: %w", d, errChanged)
	}
	return data, nil
}

// errChanged says that a blob has other bytes than a moment ago.
var errChanged = errors.New("it changed while it was read")

// PulledBlobs returns the digests of the shared blobs that an image of another registry
// leads to, of all platforms that are there, and its own. Missing and damaged documents
// lead to none.
func (s *blobs) PulledBlobs(digest oci.Digest) []oci.Digest {
	found := []oci.Digest{digest}
	data, err := s.document(digest)
	if err != nil {
		return found
	}
	root, err := oci.ParseRoot(data)
	switch {
	case err != nil:
		return found
	case !root.IsIndex():
		return append(found, blobsOf(root.Manifest)...)
	}
	for _, d := range root.Images {
		data, err := s.document(d.Digest)
		if err != nil {
			continue
		}
		if m, err := oci.ParseForeign(data, d.MediaType); err == nil {
			found = append(append(found, d.Digest), blobsOf(m)...)
		}
	}
	return found
}

func blobsOf(m oci.ImageManifest) []oci.Digest {
	digests := []oci.Digest{m.Config.Digest}
	for _, l := range m.Layers {
		digests = append(digests, l.Digest)
	}
	return digests
}
