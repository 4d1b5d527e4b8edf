package cache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// An out/ that came from elsewhere: nothing is followed, nothing blocks.
func TestHostileFiles(t *testing.T) {
	layer := oci.DigestOf([]byte("layer")).Hex()
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("layer"))
	for _, name := range []string{"", "index.json", "oci-layout", "blobs", "blobs/sha256", "blobs/sha256/" + layer} {
		s := newStore(t)
		buildImage("layer").write(t, s.Out("core-x"))
		path := filepath.Join(s.Out("core-x"), name)
		moved := filepath.Join(t.TempDir(), "moved")
		if err := errors.Join(os.Rename(path, moved), os.Symlink(moved, path)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Check("core-x"); err == nil {
			t.Errorf("%q: a link was followed", name)
		} else {
			wantError(t, err, disk.IsLink)
		}
		before := must(os.Stat(moved))(t).ModTime()
		err := s.Touch([]string{"core-x"}, blobTime)
		if onTheWay := name == "" || name == "index.json"; onTheWay != (err != nil) || !must(os.Stat(moved))(t).ModTime().Equal(before) {
			t.Errorf("%q: Touch followed a link: %v", name, err)
		}
		if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Check("core-x"); err == nil {
			t.Errorf("%q: a fifo was read", name)
		}
	}
}

func TestHostileOutput(t *testing.T) {
	s := newStore(t)
	for _, output := range []string{"", ".", "..", "../x", "a/b", "-a", ".sx", "A", "a\n", "a\x00", strings.Repeat("a", 201)} {
		if _, err := s.Read(output); err == nil {
			t.Errorf("output %q was accepted", output)
		}
		if _, err := s.Stage(output); err == nil {
			t.Errorf("staging %q was accepted", output)
		}
		if _, err := s.Record(output); err == nil {
			t.Errorf("record of %q was accepted", output)
		}
	}
}

// index.json, and what lies below, that says something impossible.
func TestHostileJSON(t *testing.T) {
	i := newImage()
	good := i.manifest(amd64, "layer")
	docker := i.json("application/vnd.docker.distribution.manifest.v2+json", map[string]any{"schemaVersion": 1, "fsLayers": []any{}})
	both := i.json(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": good, "manifests": []any{good},
	})
	bare := i.json(oci.MediaTypeManifest, map[string]any{"schemaVersion": 2})
	inner := i.index(good)
	posing := inner
	posing.MediaType = oci.MediaTypeManifest
	huge := good
	huge.Size = 64<<30 + 1
	negative := good
	negative.Size = -1
	large := good
	large.Size = oci.MaxDocument + 1
	longer := good
	longer.Size++
	nameless := good
	nameless.Digest = oci.Digest{}
	odd := good
	odd.Platform = &oci.PlatformFields{OS: "linux", Architecture: "amd64\x1b[31m"}
	other := i.manifest(amd64, "other")
	attestation := i.manifest(unknown, "provenance")
	cycle := oci.Descriptor{MediaType: oci.MediaTypeIndex, Digest: oci.DigestOf([]byte("itself")), Size: 6}
	sizes := i.json(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "config": i.json("config", amd64),
		"layers": []any{oci.Descriptor{MediaType: "l", Digest: oci.DigestOf([]byte("a")), Size: 1}, oci.Descriptor{MediaType: "l", Digest: oci.DigestOf([]byte("a")), Size: 2}},
	})
	many := make([]oci.AnnotatedDescriptor, 4097)
	for n := range many {
		many[n] = good
	}
	for name, tops := range map[string][]oci.AnnotatedDescriptor{
		"nothing":               {},
		"schema 1":              {docker},
		"both kinds":            {both},
		"no config":             {bare},
		"index in index":        {i.index(inner)},
		"index posing":          {i.index(posing)},
		"top posing":            {posing},
		"huge":                  {huge},
		"negative":              {negative},
		"too large for JSON":    {large},
		"another size":          {longer},
		"no digest":             {nameless},
		"platform with escapes": {i.index(odd)},
		"two images":            {good, other},
		"same platform twice":   {i.index(good, other)},
		"same image twice":      {i.index(good, good)},
		"attestation first":     {i.index(attestation, good)},
		"attestation alone":     {i.index(attestation)},
		"no images":             {i.index()},
		"not there":             {{Descriptor: cycle}},
		"one blob, two sizes":   {sizes},
		"unknown type":          {i.json("text/html", 1)},
		"no type":               {i.json("", oci.Index{SchemaVersion: 2, MediaType: "", Manifests: []oci.AnnotatedDescriptor{good}})},
		"too many":              many,
	} {
		s := newStore(t)
		i.write(t, s.Out("core-x"))
		data := i.blobs[i.json(oci.MediaTypeIndex, oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: tops}).Digest]
		write(t, filepath.Join(s.Out("core-x"), "index.json"), data)
		if l, err := s.Check("core-x"); err == nil {
			t.Errorf("%s: got %+v, want an error", name, l)
		}
	}
}

func TestHostileSizes(t *testing.T) {
	s := newStore(t)
	buildImage("layer").write(t, s.Out("core-x"))
	for _, name := range []string{"index.json", "oci-layout"} {
		path := filepath.Join(s.Out("core-x"), name)
		if err := os.Truncate(path, 1<<40); err != nil { // sparse
			t.Fatal(err)
		}
		_, err := s.Read("core-x")
		wantError(t, err, "more than")
	}
	deep := strings.Repeat(`{"manifests":[`, 1<<17)
	for _, text := range []string{"", "null", "[]", "{", deep, `{"schemaVersion":2}{}`, `{"schemaVersion":1,"manifests":[]}`} {
		write(t, filepath.Join(s.Out("core-x"), "index.json"), []byte(text))
		if _, err := s.Read("core-x"); err == nil {
			t.Errorf("index.json %.20q was accepted", text)
		}
	}
}

func TestOciLayoutVersion(t *testing.T) {
	s := newStore(t)
	buildImage("layer").write(t, s.Out("core-x"))
	for _, text := range []string{"", "{}", `{"imageLayoutVersion":"2.0.0"}`, `{"imageLayoutVersion":1}`} {
		write(t, filepath.Join(s.Out("core-x"), "oci-layout"), []byte(text))
		_, err := s.Read("core-x")
		wantError(t, err, "oci-layout")
	}
}
