package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
)

// An image of another registry is kept among the shared blobs and nowhere else: its
// digest leads to all of it. Which of its blobs are there is found out by following
// it, so nothing can say otherwise.

// Pulled is an image of another registry, all of it that some platforms need.
type Pulled struct {
	Root   oci.Digest       // of the image index or the image manifest, as a definition names it
	Images []PlatformImage  // one for each platform, distinct, in the order asked for
	Blobs  []oci.Descriptor // all that Images need and Root itself, each once
}

// Root is the document that a digest names: an image index or an image manifest.
type Root struct {
	MediaType string
	Manifest  oci.ImageManifest         // of a manifest
	images    []oci.AnnotatedDescriptor // of an index
}

// IsIndex reports whether the root is an image index.
func (r Root) IsIndex() bool { return oci.IsIndex(r.MediaType) }

// ParseRoot reads an image index or an image manifest, which a registry may have
// made up. The document itself says which it is, not who sent it.
func ParseRoot(data []byte) (Root, error) {
	mediaType, err := kindOf(data)
	if err != nil {
		return Root{}, err
	}
	if oci.IsIndex(mediaType) {
		idx, err := oci.ReadIndex(data, mediaType)
		if err != nil {
			return Root{}, fmt.Errorf("parsing image index: %w", err)
		}
		return Root{MediaType: mediaType, images: idx.Manifests}, nil
	}
	m, err := ParseForeign(data, mediaType)
	return Root{MediaType: mediaType, Manifest: m}, err
}

// kindOf reads the media type, or guesses it as BuildKit does (util/imageutil,
// DetectManifestBlobMediaType): an OCI document need not have one.
func kindOf(data []byte) (string, error) {
	if len(data) > oci.MaxDocument {
		return "", fmt.Errorf("%d bytes are more than %d", len(data), oci.MaxDocument)
	}
	var said struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	switch err := oci.DecodeDocument(data, &said); {
	case err != nil:
		return "", fmt.Errorf("it is neither an image index nor an image manifest: %w", err)
	case said.MediaType == "" && said.Manifests != nil:
		return oci.MediaTypeIndex, nil
	case said.MediaType == "":
		return oci.MediaTypeManifest, nil
	case !oci.IsIndex(said.MediaType) && !oci.IsManifest(said.MediaType):
		return "", fmt.Errorf("its media type %q is neither that of an image index nor of an image manifest", said.MediaType)
	}
	return said.MediaType, nil
}

// Image finds the manifest of a platform in an image index. An index in which two
// readers could find two different ones is refused.
func (r Root) Image(p oci.Platform) (oci.Descriptor, error) {
	var found []oci.Descriptor
	var others []string
	for _, d := range r.images {
		if d.Platform == nil {
			continue
		}
		switch has, err := d.Platform.Text(); {
		case err != nil || has == oci.UnknownPlatform: // another's, or an attestation
		case oci.SamePlatform(has, p):
			found = append(found, d.Descriptor)
		default:
			others = append(others, has)
		}
	}
	switch {
	case len(found) == 0:
		return oci.Descriptor{}, fmt.Errorf("the image index has no image for %s%s", p, listed(others))
	case len(found) > 1:
		return oci.Descriptor{}, fmt.Errorf("the image index has %d images for %s", len(found), p)
	case !oci.IsManifest(found[0].MediaType):
		return oci.Descriptor{}, fmt.Errorf("the image index has a %q for %s, not an image manifest", found[0].MediaType, p)
	}
	return found[0], nil
}

// maxListed bounds the platforms that an error names.
const maxListed = 12

func listed(platforms []string) string {
	if len(platforms) == 0 {
		return ""
	}
	slices.Sort(platforms)
	platforms = slices.Compact(platforms)
	said := strings.Join(platforms[:min(len(platforms), maxListed)], ", ")
	if more := len(platforms) - maxListed; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return ", only for " + said
}

// Media types that BuildKit unpacks, beside those of its own exporter.
var (
	configTypes = []string{oci.MediaTypeConfig, "application/vnd.docker.container.image.v1+json"}
	layerTypes  = []string{
		oci.MediaTypeLayer, "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip",
	}
)

// ParseForeign is ParseManifest, and refuses what is no image of a file system.
func ParseForeign(data []byte, mediaType string) (oci.ImageManifest, error) {
	m, err := oci.ParseManifest(data, mediaType)
	if err != nil {
		return m, err
	}
	if !slices.Contains(configTypes, m.Config.MediaType) {
		return m, fmt.Errorf("parsing image manifest: its config is a %q, so it is no image", m.Config.MediaType)
	}
	for _, l := range m.Layers {
		if !slices.Contains(layerTypes, l.MediaType) {
			return m, fmt.Errorf("parsing image manifest: its layer %s is a %q, which cannot be unpacked", l.Digest, l.MediaType)
		}
	}
	_, err = m.Blobs()
	return m, err
}

// Pulled follows the digest of an image of another registry as far as platforms
// need it. It is fs.ErrNotExist where something is missing or damaged; any other
// error is a fault of the image.
func (s *Store) Pulled(root oci.Digest, platforms []oci.Platform) (Pulled, error) {
	p, err := s.pulled(root, platforms)
	if err != nil {
		return Pulled{}, fmt.Errorf("reading image %s: %w", root, err)
	}
	return p, nil
}

func (s *Store) pulled(digest oci.Digest, platforms []oci.Platform) (Pulled, error) {
	data, err := s.document(digest)
	if err != nil {
		return Pulled{}, err
	}
	root, err := ParseRoot(data)
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

func (s *Store) platformManifest(root Root, p oci.Platform) (oci.Descriptor, oci.ImageManifest, error) {
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
	m, err := ParseForeign(data, d.MediaType)
	return d, m, err
}

// checkPulled holds the blobs of an image against its manifest, and its config
// against the platform that is wanted.
func (s *Store) checkPulled(m oci.ImageManifest, p oci.Platform) error {
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
func (s *Store) document(d oci.Digest) ([]byte, error) {
	f, err := s.openShared(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, oci.MaxDocument+1))
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

// errChanged says that a blob is another one than a moment ago.
var errChanged = errors.New("it changed while it was read")

// pulled notes the blobs of images of other registries, whatever platforms of them
// are there.
func (f *finder) pulled(images []oci.Digest) {
	for _, d := range images {
		f.refs[d.Hex()] = true
		data, err := f.document(d)
		if err != nil {
			continue // it is not there, or damaged: nothing that it leads to is of use
		}
		root, err := ParseRoot(data)
		switch {
		case err != nil:
		case !root.IsIndex():
			f.keepImage(root.Manifest)
		default:
			for _, m := range root.images {
				f.keepManifest(m.Descriptor)
			}
		}
	}
}

func (f *finder) keepManifest(d oci.Descriptor) {
	data, err := f.document(d.Digest)
	if err != nil {
		return
	}
	if m, err := ParseForeign(data, d.MediaType); err == nil {
		f.refs[d.Digest.Hex()] = true
		f.keepImage(m)
	}
}

func (f *finder) keepImage(m oci.ImageManifest) {
	for _, d := range append([]oci.Descriptor{m.Config}, m.Layers...) {
		f.refs[d.Digest.Hex()] = true
	}
}
