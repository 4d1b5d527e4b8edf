package preseed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
)

// SourcesType is the artifact type of a definition's sources.
const SourcesType = "application/vnd.stagex.sources.v1"

const (
	mediaTypeEmpty  = "application/vnd.oci.empty.v1+json"
	mediaTypeBytes  = "application/octet-stream"
	annotationTitle = "org.opencontainers.image.title" // where `oras pull` puts a blob
)

// File is a blob of an artifact with a name.
type File struct {
	Name string
	Content
}

// Sources returns the contents of an artifact with a definition's sources, its manifest
// last, and its tag. The manifest refers to the files, so that a registry does not
// collect them as garbage; equal files give an equal manifest. The tag has the
// definition's name and the start of the manifest's digest: it never moves, so that
// sources of older releases are kept.
//
// Source: image-spec, manifest.md, "Guidelines for Artifact Usage".
func Sources(definition, version string, files []File) (contents []Content, tag string, err error) {
	type layer struct {
		oci.Descriptor
		Annotations map[string]string `json:"annotations"`
	}
	empty := inMemory(mediaTypeEmpty, []byte("{}"))
	layers := []layer{}
	seen := map[oci.Digest]bool{empty.Digest: true}
	contents = []Content{empty}
	for _, f := range files {
		f.MediaType = mediaTypeBytes
		layers = append(layers, layer{f.Descriptor, map[string]string{annotationTitle: f.Name}})
		if !seen[f.Digest] {
			seen[f.Digest] = true
			contents = append(contents, f.Content)
		}
	}
	annotations := map[string]string{annotationTitle: definition}
	if version != "" {
		annotations[oci.AnnotationVersion] = version
	}
	data, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		ArtifactType  string            `json:"artifactType"`
		Config        oci.Descriptor    `json:"config"`
		Layers        []layer           `json:"layers"`
		Annotations   map[string]string `json:"annotations"`
	}{2, oci.MediaTypeManifest, SourcesType, empty.Descriptor, layers, annotations})
	manifest := inMemory(oci.MediaTypeManifest, data)
	return append(contents, manifest), sourcesTag(definition, version, manifest.Digest), err
}

// sourcesTag returns a tag such as "core-rust-1.80.0.0123456789ab", of at most 128
// characters.
func sourcesTag(definition, version string, manifest oci.Digest) string {
	name := strings.ReplaceAll(definition, "/", "-")
	if version != "" {
		name += "-" + version
	}
	return fmt.Sprintf("%.100s.%.12s", name, manifest.Hex())
}

func inMemory(mediaType string, data []byte) Content {
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(data), Size: int64(len(data))}
	return Content{d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}
