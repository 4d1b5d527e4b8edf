package oci

import (
	"strings"
	"testing"
)

// ImageIndex and IndexAnnotations compute what BuildKit writes: this test compares
// them with core-profile of a release, whose image index has 374 bytes, and cmd/sx's
// engine scripts with real builds.
func TestImageIndex(t *testing.T) {
	d, _ := ParseDigest("sha256:" + strings.Repeat("ab", 32))
	data, top, err := ImageIndex(Manifest{Digest: d, Size: 765, Platform: "linux/amd64"})
	want := `{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "` + d.String() + `",
      "size": 765,
      "platform": {
        "architecture": "amd64",
        "os": "linux"
      }
    }
  ]
}`
	if err != nil || string(data) != want || top.Size != 374 || top.Digest != DigestOf(data) {
		t.Errorf("got %s, %v, %v", data, top, err)
	}
	if data, _, _ = ImageIndex(Manifest{Digest: d, Size: 1, Platform: "linux/arm/v6"}); !strings.Contains(string(data), `"variant": "v6"`) {
		t.Errorf("got %s", data)
	}
	if _, _, err = ImageIndex(Manifest{Digest: d, Size: 1, Platform: "linux"}); err == nil {
		t.Error("a platform without architecture passed")
	}
}

func TestParseManifest(t *testing.T) {
	d := `"sha256:` + strings.Repeat("ab", 32) + `"`
	config := `"config":{"mediaType":"c","digest":` + d + `,"size":3}`
	layer := `{"mediaType":"l","digest":"sha256:` + strings.Repeat("cd", 32) + `","size":4}`
	head := `"schemaVersion":2,"mediaType":"` + MediaTypeManifest + `",`
	for _, c := range []struct{ data, announced, want string }{
		{`{` + head + config + `,"layers":[` + layer + `]}`, "", ""},
		{`{` + head + config + `,"layers":[` + layer + `]}`, MediaTypeManifest, ""},
		{`{` + head + config + `,"layers":[` + layer + `]}`, "application/json", ""},
		{`{"schemaVersion":2,` + config + `,"layers":[]}`, MediaTypeManifest, ""},
		{`{"schemaVersion":2,` + config + `,"layers":[]}`, "", "not that of an image manifest"},
		{`{` + head + config + `}`, dockerTypeManifest, "but was announced as"},
		{`{` + head + config + `}`, MediaTypeIndex, "but was announced as"},
		{`{"schemaVersion":2,"mediaType":"` + MediaTypeIndex + `","manifests":[]}`, "", "not that of an image manifest"},
		{`{` + head + config + `,"manifests":[]}`, "", "also has the fields of an index"},
		{`{` + head + config + `,` + config + `}`, "", `names "config" twice`},
		{`{` + head + config + `,"Layers":[]}`, "", `which some read as "layers"`},
		{`{` + head + `"layers":[]}`, "", "names no config"},
		{`{"schemaVersion":1,"fsLayers":[]}`, "", "schema version is 1"},
		{`{` + head + `"config":{"digest":"sha512:00","size":1}}`, "", "parsing digest"},
		{`{` + head + `"config":{"digest":"","size":1}}`, "", "without a digest"},
		{`{` + head + `"config":{"digest":` + d + `,"size":-1}}`, "", "out of bounds"},
		{`{` + head + config + `,"layers":[{"mediaType":"l","digest":` + d + `,"size":9,"urls":["https://x"]}]}`, "", "urls"},
		{`<html>`, "", "invalid character"},
		{``, "", "unexpected end"},
		{strings.Repeat(" ", MaxDocument+1), "", "bytes are more than"},
	} {
		i, err := ParseManifest([]byte(c.data), c.announced)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want an error with %q", c.data, err, c.want)
			}
		} else if err != nil || i.Config.Size != 3 {
			t.Errorf("%s: %+v, %v", c.data, i, err)
		}
	}
}
