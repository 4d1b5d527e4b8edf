package cache

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

// put makes text the image index of a layout, or its index.json.
func put(t *testing.T, s *Store, i *image, text string, inner bool) {
	t.Helper()
	if inner {
		i.top = i.add(oci.MediaTypeIndex, []byte(text))
	}
	i.write(t, s.Out("core-x"))
	if !inner {
		write(t, filepath.Join(s.Out("core-x"), "index.json"), []byte(text))
	}
}

// A document that reads otherwise to python or docker than to Go shows the good
// image here and runs the evil one there.
func TestTwoFacedDocuments(t *testing.T) {
	i := newImage()
	good, evil := entryJSON(i.manifest(amd64, "good")), entryJSON(i.manifest(amd64, "evil"))
	longS := "manifeſts" // folds to "manifests"
	plain := strings.Replace(`{"schemaVersion":2,"manifests":[GOOD]}`, "GOOD", good, 1)
	for _, inner := range []bool{false, true} {
		s := newStore(t)
		put(t, s, i, plain, inner)
		must(s.Read("core-x"))(t)
	}
	for _, text := range []string{
		`{"schemaVersion":2,"manifests":[EVIL],"manifests":[GOOD]}`,
		`{"schemaVersion":2,"manifests":[EVIL],"Manifests":[GOOD]}`,
		`{"schemaVersion":2,"manifests":[EVIL],"` + longS + `":[GOOD]}`,
		`{"schemaVersion":2,"manifests":[EVIL],"m\u0061nifests":[GOOD]}`,
		`{"schemaVersion":2,"MANIFESTS":[GOOD]}`,
		`{"schemaVersion":2,"manifests":[GOOD],"Config":null}`,
		`{"schemaVersion":2,"schemaVersion":2,"manifests":[GOOD]}`,
		`{"schemaVersion":2,"manifests":[GOOD],"x":{"a":1,"a":2}}`,
		`{"schemaVersion":2,"manifests":[GOOD],"x":"` + "\xff" + `"}`,
		`{"schemaVersion":2,"manifests":[GOOD]}{}`,
		`{"schemaVersion":2,"manifests":[GOOD]}]`,
		strings.Replace(plain, good, twice(evil, good), 1),
		strings.Replace(plain, `"digest"`, `"Digest"`, 1),
		strings.Replace(plain, `"os"`, `"OS"`, 1),
	} {
		text = strings.NewReplacer("GOOD", good, "EVIL", evil).Replace(text)
		for _, inner := range []bool{false, true} {
			s := newStore(t)
			put(t, s, i, text, inner)
			if l, err := s.Read("core-x"); err == nil {
				t.Errorf("%s: got %v", text, l.Manifests)
			}
		}
	}
}

// entryJSON is a descriptor as JSON.
func entryJSON(d oci.AnnotatedDescriptor) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"%s","size":%d,"annotations":{"Size":"1","size":"2"},`+
		`"platform":{"architecture":"amd64","os":"linux"}}`, d.MediaType, d.Digest, d.Size)
}

// twice is a descriptor with two digests.
func twice(first, last string) string {
	return strings.TrimSuffix(first, "}") + strings.Replace(last, "{", ",", 1)
}

func TestTwoFacedManifest(t *testing.T) {
	for _, change := range []string{`"layers":[],"layers"`, `"layers":[],"Layers"`, `"Layers"`} {
		i := newImage()
		m := i.manifest(amd64, "layer")
		text := strings.Replace(string(i.blobs[m.Digest]), `"layers"`, change, 1)
		i.top = i.add(oci.MediaTypeManifest, []byte(text))
		s := newStore(t)
		i.write(t, s.Out("core-x"))
		if _, err := s.Check("core-x"); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestTwoFacedOciLayout(t *testing.T) {
	s := newStore(t)
	buildImage("layer").write(t, s.Out("core-x"))
	text := `{"imageLayoutVersion":"2.0.0","imageLayoutVersion":"1.0.0"}`
	write(t, filepath.Join(s.Out("core-x"), "oci-layout"), []byte(text))
	_, err := s.Read("core-x")
	wantError(t, err, `it names "imageLayoutVersion" twice`)
}
