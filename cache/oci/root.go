package oci

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Root is the document that the digest of an image names: an image index or an image
// manifest.
type Root struct {
	MediaType string
	Manifest  ImageManifest         // of a manifest
	Images    []AnnotatedDescriptor // of an index
}

// IsIndex reports whether the root is an image index.
func (r Root) IsIndex() bool { return IsIndex(r.MediaType) }

// ParseRoot parses an image index or an image manifest from a registry, which may
// have forged it. The document itself says which of the two it is.
func ParseRoot(data []byte) (Root, error) {
	mediaType, err := kindOf(data)
	if err != nil {
		return Root{}, err
	}
	if IsIndex(mediaType) {
		idx, err := ReadIndex(data, mediaType)
		if err != nil {
			return Root{}, fmt.Errorf("parsing image index: %w", err)
		}
		return Root{MediaType: mediaType, Images: idx.Manifests}, nil
	}
	m, err := ParseForeign(data, mediaType)
	return Root{MediaType: mediaType, Manifest: m}, err
}

// kindOf returns the media type. An OCI document need not have one; then kindOf
// decides as BuildKit does.
//
// Source: BuildKit's util/imageutil, DetectManifestBlobMediaType.
func kindOf(data []byte) (string, error) {
	if len(data) > MaxDocument {
		return "", fmt.Errorf("%d bytes are more than %d", len(data), MaxDocument)
	}
	var fields struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	switch err := DecodeDocument(data, &fields); {
	case err != nil:
		return "", fmt.Errorf("it is neither an image index nor an image manifest: %w", err)
	case fields.MediaType == "" && fields.Manifests != nil:
		return MediaTypeIndex, nil
	case fields.MediaType == "":
		return MediaTypeManifest, nil
	case !IsIndex(fields.MediaType) && !IsManifest(fields.MediaType):
		return "", fmt.Errorf("its media type %q is neither that of an image index nor of an image manifest", fields.MediaType)
	}
	return fields.MediaType, nil
}

// Image returns the manifest for a platform in an image index. It refuses an index
// in which two readers could find different ones.
func (r Root) Image(p Platform) (Descriptor, error) {
	var found []Descriptor
	var others []string
	for _, d := range r.Images {
		if d.Platform == nil {
			continue
		}
		switch has, err := d.Platform.Text(); {
		case err != nil || has == UnknownPlatform: // invalid, or an attestation
		case SamePlatform(has, p):
			found = append(found, d.Descriptor)
		default:
			others = append(others, has)
		}
	}
	switch {
	case len(found) == 0:
		return Descriptor{}, fmt.Errorf("the image index has no image for %s%s", p, listed(others))
	case len(found) > 1:
		return Descriptor{}, fmt.Errorf("the image index has %d images for %s", len(found), p)
	case !IsManifest(found[0].MediaType):
		return Descriptor{}, fmt.Errorf("the image index has a %q for %s, not an image manifest", found[0].MediaType, p)
	}
	return found[0], nil
}

// maxListed bounds the platforms that an error names.
const maxListed = 12

// listed describes the platforms that an index has.
func listed(platforms []string) string {
	if len(platforms) == 0 {
		return ""
	}
	slices.Sort(platforms)
	platforms = slices.Compact(platforms)
	text := strings.Join(platforms[:min(len(platforms), maxListed)], ", ")
	if more := len(platforms) - maxListed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return ", only for " + text
}

// Media types that BuildKit unpacks, besides those of its own exporter.
var (
	configTypes = []string{MediaTypeConfig, "application/vnd.docker.container.image.v1+json"}
	layerTypes  = []string{
		MediaTypeLayer, "application/vnd.image.layer.v1.tar", "application/vnd.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip",
	}
)

// ParseForeign is ParseManifest, and refuses a manifest that is not of a filesystem
// image.
func ParseForeign(data []byte, mediaType string) (ImageManifest, error) {
	m, err := ParseManifest(data, mediaType)
	if err != nil {
		return m, err
	}
	if !slices.Contains(configTypes, m.Config.MediaType) {
		return m, fmt.Errorf("parsing image manifest: its config is a %q, so it is not an image", m.Config.MediaType)
	}
	for _, l := range m.Layers {
		if !slices.Contains(layerTypes, l.MediaType) {
			return m, fmt.Errorf("parsing image manifest: its layer %s is a %q, which cannot be unpacked", l.Digest, l.MediaType)
		}
	}
	_, err = m.Blobs()
	return m, err
}
