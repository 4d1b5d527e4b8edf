package oci

import (
	"encoding/json"
	"fmt"
)

// Media types of the OCI image specification 1.1 (image-index.md, manifest.md,
// config.md, descriptor.md). Docker's are read too: `docker save` may write them.
const (
	MediaTypeIndex    = "application/vnd.oci.image.index.v1+json"
	MediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"

	dockerTypeIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerTypeManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// Limits of what is read from a layout. Real layouts are far below: a manifest has
// some kilobytes, the largest layers of StageX a few gigabytes.
const (
	MaxDocument    = 4 << 20  // bytes of index.json, an image index, a manifest, a config
	maxDescriptors = 4096     // manifests of an index, layers of a manifest
	maxBlob        = 64 << 30 // bytes of any blob
)

// Descriptor names a blob by its digest, size and media type.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    Digest `json:"digest"`
	Size      int64  `json:"size"`
}

// AnnotatedDescriptor is a Descriptor with the other fields of an index or manifest,
// in the order of image-spec's Go types, with which BuildKit writes them.
type AnnotatedDescriptor struct {
	Descriptor
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *PlatformFields   `json:"platform,omitempty"`
}

// PlatformFields is the platform of an index or a config.
type PlatformFields struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// Index is an image index.
type Index struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType,omitempty"`
	Manifests     []AnnotatedDescriptor `json:"manifests"`
}

// ManifestDocument is an image manifest.
type ManifestDocument struct {
	Config      AnnotatedDescriptor
	Layers      []AnnotatedDescriptor
	Annotations map[string]string
}

// document has the fields of both an index and a manifest, so that a document with
// both is refused (CVE-2021-41190).
type document struct {
	SchemaVersion int                   `json:"schemaVersion"`
	MediaType     string                `json:"mediaType"`
	Manifests     []AnnotatedDescriptor `json:"manifests"`
	Config        *AnnotatedDescriptor  `json:"config"`
	Layers        []AnnotatedDescriptor `json:"layers"`
	Annotations   map[string]string     `json:"annotations"`
	FSLayers      json.RawMessage       `json:"fsLayers"`
}

// ReadIndex parses an image index. MediaType is that of its descriptor.
func ReadIndex(data []byte, mediaType string) (Index, error) {
	doc, err := parseDocument(data, mediaType)
	switch {
	case err != nil:
		return Index{}, err
	case !IsIndex(doc.MediaType):
		return Index{}, fmt.Errorf("media type %.100q is not that of an image index", doc.MediaType)
	case doc.Config != nil || doc.Layers != nil:
		return Index{}, fmt.Errorf("image index also has the fields of a manifest")
	}
	return Index{doc.SchemaVersion, doc.MediaType, doc.Manifests}, checkDescriptors(doc.Manifests)
}

// ReadManifest parses an image manifest. MediaType is that of its descriptor.
func ReadManifest(data []byte, mediaType string) (ManifestDocument, error) {
	doc, err := parseDocument(data, mediaType)
	switch {
	case err != nil:
		return ManifestDocument{}, err
	case !IsManifest(doc.MediaType):
		return ManifestDocument{}, fmt.Errorf("media type %.100q is not that of an image manifest", doc.MediaType)
	case doc.Manifests != nil:
		return ManifestDocument{}, fmt.Errorf("image manifest also has the fields of an index")
	case doc.Config == nil:
		return ManifestDocument{}, fmt.Errorf("image manifest names no config")
	}
	m := ManifestDocument{*doc.Config, doc.Layers, doc.Annotations}
	return m, checkDescriptors(append([]AnnotatedDescriptor{m.Config}, m.Layers...))
}

func decodeIndexOrManifest(data []byte) (doc document, err error) {
	if err := CheckBounds(data); err != nil {
		return doc, err
	}
	if doc, ok := readPlain(data); ok {
		return doc, nil
	}
	err = DecodeDocument(data, &doc)
	return doc, err
}

// parseDocument sets a missing media type to mediaType, which the descriptor gives,
// and refuses another one.
func parseDocument(data []byte, mediaType string) (document, error) {
	doc, err := decodeIndexOrManifest(data)
	if err != nil {
		return doc, err
	}
	if doc.SchemaVersion != 2 || doc.FSLayers != nil {
		return doc, fmt.Errorf("schema version is %d, want 2", doc.SchemaVersion)
	}
	if doc.MediaType == "" {
		doc.MediaType = mediaType
	}
	if doc.MediaType != mediaType {
		return doc, fmt.Errorf("media type is %.100q, but its descriptor says %.100q", doc.MediaType, mediaType)
	}
	return doc, nil
}

// checkDescriptors refuses too many descriptors, and invalid ones.
func checkDescriptors(ds []AnnotatedDescriptor) error {
	if len(ds) > maxDescriptors {
		return fmt.Errorf("%d descriptors are more than %d", len(ds), maxDescriptors)
	}
	for _, d := range ds {
		if err := d.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check refuses a descriptor without a digest or with an impossible size.
func (d Descriptor) Check() error {
	switch {
	case d.Digest.IsZero():
		return fmt.Errorf("descriptor without a digest")
	case d.Size < 0 || d.Size > maxBlob:
		return fmt.Errorf("descriptor of %s: size %d is out of bounds", d.Digest, d.Size)
	}
	return nil
}

// IsIndex reports whether mediaType is that of an image index.
func IsIndex(mediaType string) bool {
	return mediaType == MediaTypeIndex || mediaType == dockerTypeIndex
}

// IsManifest reports whether mediaType is that of an image manifest.
func IsManifest(mediaType string) bool {
	return mediaType == MediaTypeManifest || mediaType == dockerTypeManifest
}

// IsManifest reports whether d is an image manifest or an image index: registries
// keep both as manifests, not as blobs.
func (d Descriptor) IsManifest() bool { return IsManifest(d.MediaType) || IsIndex(d.MediaType) }
