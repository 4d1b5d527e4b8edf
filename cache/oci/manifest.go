package oci

import (
	"encoding/json"
	"fmt"
)

// Media types of the parts of an image that BuildKit's exporter writes.
const (
	MediaTypeConfig = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer  = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// ImageManifest lists the blobs of an image.
type ImageManifest struct {
	MediaType string
	Config    Descriptor
	Layers    []Descriptor // the first is the lowest
	Version   string       // org.opencontainers.image.version, "" if there is none
}

// ParseManifest parses an image manifest from a registry, which may have forged it.
// It requires strict JSON within limits, a digest and a size for each blob, and no
// second meaning for another reader. MediaType is the announced one, "" if none was.
func ParseManifest(data []byte, mediaType string) (ImageManifest, error) {
	if len(data) > MaxDocument {
		return ImageManifest{}, fmt.Errorf("parsing image manifest: %d bytes are more than %d", len(data), MaxDocument)
	}
	var said struct {
		MediaType string      `json:"mediaType"`
		Config    elsewhere   `json:"config"`
		Layers    []elsewhere `json:"layers"`
	}
	if err := DecodeDocument(data, &said); err != nil {
		return ImageManifest{}, fmt.Errorf("parsing image manifest: %w", err)
	}
	for _, d := range append(said.Layers, said.Config) {
		if len(d.URLs) > 0 {
			return ImageManifest{}, fmt.Errorf("parsing image manifest: a blob of it has urls, which lead elsewhere")
		}
	}
	switch known := IsManifest(mediaType) || IsIndex(mediaType); {
	case !known:
		mediaType = said.MediaType
	case said.MediaType != "" && said.MediaType != mediaType:
		return ImageManifest{}, fmt.Errorf("parsing image manifest: it is a %.100q, but was announced as a %.100q", said.MediaType, mediaType)
	}
	m, err := ReadManifest(data, mediaType)
	if err != nil {
		return ImageManifest{}, fmt.Errorf("parsing image manifest: %w", err)
	}
	image := ImageManifest{MediaType: mediaType, Config: m.Config.Descriptor, Version: m.Annotations[AnnotationVersion]}
	for _, l := range m.Layers {
		image.Layers = append(image.Layers, l.Descriptor)
	}
	return image, nil
}

// elsewhere has the URLs of a descriptor, at which its blob may lie too.
type elsewhere struct {
	URLs []string `json:"urls"`
}

// Blobs returns the config and the layers, each digest once. Two sizes for one
// digest are an error.
func (i ImageManifest) Blobs() ([]Descriptor, error) {
	set := BlobSet{Seen: map[Digest]int64{}}
	if err := set.Add(AnnotatedDescriptor{Descriptor: i.Config}); err != nil {
		return nil, err
	}
	for _, l := range i.Layers {
		if err := set.Add(AnnotatedDescriptor{Descriptor: l}); err != nil {
			return nil, err
		}
	}
	return set.List, nil
}

// ParseConfig parses an image config, and returns the platform and the number of
// layers that it lists.
func ParseConfig(data []byte) (p Platform, layers int, err error) {
	if p, err = ReadConfigPlatform(data); err != nil {
		return "", 0, fmt.Errorf("parsing image config: %w", err)
	}
	var c struct {
		RootFS struct {
			DiffIDs []Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return "", 0, fmt.Errorf("parsing image config: %w", err)
	}
	return p, len(c.RootFS.DiffIDs), nil
}

// ImageIndex returns the bytes of the image index that BuildKit's exporter writes
// for images (moby/buildkit: exporter/containerimage/writer.go, a manifest list
// indented by two spaces), and the descriptor that index.json names it by.
func ImageIndex(images ...Manifest) ([]byte, Descriptor, error) {
	idx := Index{SchemaVersion: 2, MediaType: MediaTypeIndex}
	for _, m := range images {
		p, err := parsePlatform(m.Platform)
		if err != nil {
			return nil, Descriptor{}, err
		}
		idx.Manifests = append(idx.Manifests, AnnotatedDescriptor{Descriptor: Descriptor{MediaTypeManifest, m.Digest, m.Size}, Platform: &p})
	}
	data, err := json.MarshalIndent(idx, "", "  ")
	if err != nil {
		return nil, Descriptor{}, err
	}
	return data, Descriptor{MediaTypeIndex, DigestOf(data), int64(len(data))}, nil
}

// IndexAnnotations returns the annotations that a build writes into index.json for
// an output with a version.
func IndexAnnotations(output, version string) map[string]string {
	return map[string]string{
		AnnotationName:    "docker.io/stagex/" + output + ":" + version,
		annotationCreated: "1970-01-01T00:00:01Z",
		AnnotationRefName: version,
	}
}

// IndexJSON returns the index.json that containerd's archive exporter, which
// BuildKit uses, writes for one descriptor: compact, without a newline at the end
// (core/images/archive/exporter.go, ociIndexRecord).
func IndexJSON(top Descriptor, annotations map[string]string) ([]byte, error) {
	return json.Marshal(Index{
		SchemaVersion: 2,
		MediaType:     MediaTypeIndex,
		Manifests:     []AnnotatedDescriptor{{Descriptor: top, Annotations: annotations}},
	})
}

type BlobSet struct {
	Seen map[Digest]int64
	List []Descriptor
}

// Add adds descriptors. Two sizes for one digest are an error.
func (s *BlobSet) Add(ds ...AnnotatedDescriptor) error {
	for _, d := range ds {
		size, seen := s.Seen[d.Digest]
		if seen && size != d.Size {
			return fmt.Errorf("blob %s is said to have %d bytes and %d", d.Digest, size, d.Size)
		}
		if !seen {
			s.Seen[d.Digest] = d.Size
			s.List = append(s.List, d.Descriptor)
		}
	}
	return nil
}

// Manifest is the image for one platform.
type Manifest struct {
	Digest   Digest   `json:"digest"`
	Size     int64    `json:"size"`
	Platform Platform `json:"platform"`
}

// AnnotationVersion is the annotation of a manifest with the image's version.
const AnnotationVersion = "org.opencontainers.image.version"

// Annotations of the one descriptor in index.json, as BuildKit's OCI exporter sets
// them.
const (
	AnnotationName    = "io.containerd.image.name"
	annotationCreated = "org.opencontainers.image.created"
	AnnotationRefName = "org.opencontainers.image.ref.name"
)

// CheckConfig compares an image config with its manifest and with the platform that
// the image must be for. It refuses ONBUILD: BuildKit would run it in every build
// from the image, although no file of the tree has it.
func (i ImageManifest) CheckConfig(data []byte, want Platform) error {
	platform, layers, err := ParseConfig(data)
	var docker struct{ Config struct{ OnBuild []string } }
	if err == nil {
		err = json.Unmarshal(data, &docker)
	}
	switch {
	case err != nil:
		return err
	case int64(len(data)) != i.Config.Size:
		return fmt.Errorf("its config has %d bytes, its manifest says %d", len(data), i.Config.Size)
	case layers != len(i.Layers):
		return fmt.Errorf("its manifest names %d layers, its config %d", len(i.Layers), layers)
	case !SamePlatform(platform, want):
		return fmt.Errorf("the image is for %s, not for %s", platform, want)
	case len(docker.Config.OnBuild) > 0:
		return fmt.Errorf("the image has ONBUILD instructions (%.80q), which would run unseen in what is built from it", docker.Config.OnBuild[0])
	}
	return nil
}
