package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

// What ImageIndex and IndexAnnotations compute is what BuildKit leaves: checked
// here against a release's core-profile (upstream.md of the project's notes has its
// image index as 374 bytes), and against real builds by cmd/sx's engine scripts.
func TestImageIndex(t *testing.T) {
	d, _ := oci.ParseDigest("sha256:" + strings.Repeat("ab", 32))
	data, top, err := oci.ImageIndex(oci.Manifest{Digest: d, Size: 765, Platform: "linux/amd64"})
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
	if err != nil || string(data) != want || top.Size != 374 || top.Digest != oci.DigestOf(data) {
		t.Errorf("got %s, %v, %v", data, top, err)
	}
	if data, _, _ = oci.ImageIndex(oci.Manifest{Digest: d, Size: 1, Platform: "linux/arm/v6"}); !strings.Contains(string(data), `"variant": "v6"`) {
		t.Errorf("got %s", data)
	}
	if _, _, err = oci.ImageIndex(oci.Manifest{Digest: d, Size: 1, Platform: "linux"}); err == nil {
		t.Error("a platform without architecture passed")
	}
}

func TestParseManifest(t *testing.T) {
	d := `"sha256:` + strings.Repeat("ab", 32) + `"`
	config := `"config":{"mediaType":"c","digest":` + d + `,"size":3}`
	layer := `{"mediaType":"l","digest":"sha256:` + strings.Repeat("cd", 32) + `","size":4}`
	head := `"schemaVersion":2,"mediaType":"` + oci.MediaTypeManifest + `",`
	for _, c := range []struct{ data, announced, want string }{
		{`{` + head + config + `,"layers":[` + layer + `]}`, "", ""},
		{`{` + head + config + `,"layers":[` + layer + `]}`, oci.MediaTypeManifest, ""},
		{`{` + head + config + `,"layers":[` + layer + `]}`, "application/json", ""},
		{`{"schemaVersion":2,` + config + `,"layers":[]}`, oci.MediaTypeManifest, ""},
		{`{"schemaVersion":2,` + config + `,"layers":[]}`, "", "not that of an image manifest"},
		{`{` + head + config + `}`, oci.DockerTypeManifest, "but was announced as"},
		{`{` + head + config + `}`, oci.MediaTypeIndex, "but was announced as"},
		{`{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[]}`, "", "not that of an image manifest"},
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
		{strings.Repeat(" ", oci.MaxJSON+1), "", "bytes are more than"},
	} {
		i, err := oci.ParseManifest([]byte(c.data), c.announced)
		if c.want != "" {
			wantError(t, err, c.want)
		} else if err != nil || i.Config.Size != 3 {
			t.Errorf("%s: %+v, %v", c.data, i, err)
		}
	}
}

func TestPartial(t *testing.T) {
	s := newStore(t)
	want := oci.DigestOf([]byte("the whole blob"))
	p, err := s.Partial(t.Context(), want, func() {})
	if err != nil {
		t.Fatal(err)
	}
	p.Write([]byte("the whole"))
	err = p.Finish()
	var wrong *oci.DigestMismatchError
	if !errors.As(err, &wrong) {
		t.Errorf("half a blob: %v", err)
	}
	p.Close()

	// A next run goes on where this one was.
	s = open(t, s.tree)
	if p, err = s.Partial(t.Context(), want, func() {}); err != nil || p.Size() != int64(len("the whole")) {
		t.Fatalf("%+v, %v", p, err)
	}
	p.Write([]byte(" blob"))
	if err := p.Finish(); err != nil {
		t.Fatal(err)
	}
	p.Close()
	path, err := s.BlobPath(want)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(path)
	if info.Mode() != 0o444 || !info.ModTime().Equal(blobTime) {
		t.Errorf("the blob is %v of %v", info.Mode(), info.ModTime())
	}
	if left, _ := filepath.Glob(s.Dir("blobs", "partial", "*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if _, err := s.Partial(t.Context(), want, func() {}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a blob that is there: %v", err)
	}
}

// What was planted under a partial blob's name is neither followed nor written to.
func TestPartialHostile(t *testing.T) {
	s := newStore(t)
	want := oci.DigestOf([]byte("x"))
	if _, err := s.Folder("blobs", "partial"); err != nil {
		t.Fatal(err)
	}
	name, other := s.Dir("blobs", "partial", want.Hex()), filepath.Join(t.TempDir(), "other")
	for what, plant := range map[string]func() error{
		"symbolic link": func() error { return os.Symlink(other, name) },
		"hard link":     func() error { return os.Link(other, name) },
	} {
		write(t, other, []byte("mine"))
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		p, err := s.Partial(t.Context(), want, func() {})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		p.Write([]byte("y"))
		p.Discard()
		if data, _ := os.ReadFile(other); string(data) != "mine" {
			t.Errorf("%s: the other file is %q", what, data)
		}
	}
}
