package cache

import (
	"encoding/json"
	"fmt"
)

// Media types of the parts of an image that BuildKit's exporter writes.
const (
	MediaTypeConfig = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer  = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// MaxDocument bounds an index, a manifest or a config, in bytes.
const MaxDocument = maxJSON

// ImageManifest is what an image manifest names.
type ImageManifest struct {
	MediaType string
	Config    Descriptor
	Layers    []Descriptor // the first is the lowest
	Version   string       // org.opencontainers.image.version, "" where it is not said
}

// ParseManifest reads an image manifest, which a registry may have made up: it is
// bounded, strict JSON, names every blob by digest and size, and is neither an
// index nor ambiguous to another reader. mediaType is what it was announced as, ""
// where nobody did.
func ParseManifest(data []byte, mediaType string) (ImageManifest, error) {
	if len(data) > maxJSON {
		return ImageManifest{}, fmt.Errorf("parsing image manifest: %d bytes are more than %d", len(data), maxJSON)
	}
	var said struct {
		MediaType string      `json:"mediaType"`
		Config    elsewhere   `json:"config"`
		Layers    []elsewhere `json:"layers"`
	}
	if err := decodeDocument(data, &said); err != nil {
		return ImageManifest{}, fmt.Errorf("parsing image manifest: %w", err)
	}
	for _, d := range append(said.Layers, said.Config) {
		if len(d.URLs) > 0 {
			return ImageManifest{}, fmt.Errorf("parsing image manifest: a blob of it has urls, which lead elsewhere")
		}
	}
	switch known := isManifest(mediaType) || isIndex(mediaType); {
	case !known:
		mediaType = said.MediaType
	case said.MediaType != "" && said.MediaType != mediaType:
		return ImageManifest{}, fmt.Errorf("parsing image manifest: it is a %.100q, but was announced as a %.100q", said.MediaType, mediaType)
	}
	m, err := parseManifest(data, mediaType)
	if err != nil {
		return ImageManifest{}, fmt.Errorf("parsing image manifest: %w", err)
	}
	image := ImageManifest{MediaType: mediaType, Config: m.Config.Descriptor, Version: m.Annotations[AnnotationVersion]}
	for _, l := range m.Layers {
		image.Layers = append(image.Layers, l.Descriptor)
	}
	return image, nil
}

// elsewhere is where a descriptor says that its blob may be had, too.
type elsewhere struct {
	URLs []string `json:"urls"`
}

// Blobs are the config and the layers, each digest once. It is an error where one
// is said to have two sizes.
func (i ImageManifest) Blobs() ([]Descriptor, error) {
	set := blobSet{seen: map[Digest]int64{}}
	if err := set.add(descriptor{Descriptor: i.Config}); err != nil {
		return nil, err
	}
	for _, l := range i.Layers {
		if err := set.add(descriptor{Descriptor: l}); err != nil {
			return nil, err
		}
	}
	return set.list, nil
}

// ParseConfig reads an image config: the platform, and how many layers it says
// that there are.
func ParseConfig(data []byte) (p Platform, layers int, err error) {
	if p, err = parseConfig(data); err != nil {
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
	idx := index{SchemaVersion: 2, MediaType: MediaTypeIndex}
	for _, m := range images {
		p, err := parsePlatform(m.Platform)
		if err != nil {
			return nil, Descriptor{}, err
		}
		idx.Manifests = append(idx.Manifests, descriptor{Descriptor: Descriptor{MediaTypeManifest, m.Digest, m.Size}, Platform: &p})
	}
	data, err := json.MarshalIndent(idx, "", "  ")
	if err != nil {
		return nil, Descriptor{}, err
	}
	return data, Descriptor{MediaTypeIndex, DigestOf(data), int64(len(data))}, nil
}

// TopIndex returns the bytes of the index.json that Commit writes.
func TopIndex(index Descriptor, annotations map[string]string) ([]byte, error) {
	return indexJSON(index, annotations)
}

// IndexAnnotations are those that a build leaves in index.json for an output of a
// version.
func IndexAnnotations(output, version string) map[string]string {
	return map[string]string{
		AnnotationName:    "docker.io/stagex/" + output + ":" + version,
		AnnotationCreated: "1970-01-01T00:00:01Z",
		AnnotationRefName: version,
	}
}
