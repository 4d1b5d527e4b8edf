package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/oci"
)

func TestLayoutForms(t *testing.T) {
	s := newStore(t)

	two := buildImage("layer")
	two.top.Annotations = map[string]string{oci.AnnotationName: "docker.io/stagex/core-two:1", oci.AnnotationRefName: "1"}
	two.write(t, s.Out("core-two"))
	got, err := s.Read("core-two")
	want := Layout{
		Output: "core-two", Index: two.top.Digest, Manifests: got.Manifests,
		Top:  oci.DigestOf(must(os.ReadFile(s.Out("core-two/index.json")))(t)),
		Name: "docker.io/stagex/core-two:1", RefName: "1",
	}
	if text := diff(want, got); err != nil || text != "" {
		t.Errorf("two-level: %v\n%s", err, text)
	}

	// What `docker save` leaves: the manifest directly, without a platform.
	one := newImage()
	one.top = one.manifest(amd64, "layer")
	one.write(t, s.Out("core-one"))
	write(t, filepath.Join(s.Out("core-one"), "manifest.json"), []byte("[]"))
	single, err := s.Check("core-one")
	if err != nil || !single.OneLevel || !single.Index.IsZero() {
		t.Errorf("one-level: got %+v, %v", single, err)
	}
	if text := diff(got.Manifests, single.Manifests); text != "" {
		t.Errorf("both forms must give the same images:\n%s", text)
	}
	if single.Digest() != one.top.Digest || got.Digest() != one.top.Digest {
		t.Error("the digest is that of the image manifest in both forms")
	}
}

func TestLayoutPlatforms(t *testing.T) {
	s := newStore(t)
	i := newImage()
	first, second := i.manifest(arm64, "a"), i.manifest(amd64, "b")
	attestation := i.manifest(unknown, "provenance")
	i.top = i.index(first, second, attestation)
	i.write(t, s.Out("core-multi"))
	l, err := s.Verify(t.Context(), "core-multi")
	if err != nil {
		t.Fatal(err)
	}
	want := []oci.Manifest{
		{Digest: first.Digest, Size: first.Size, Platform: "linux/arm64"},
		{Digest: second.Digest, Size: second.Size, Platform: "linux/amd64"},
	}
	if text := diff(want, l.Manifests); text != "" {
		t.Errorf("images must stand in the index's order:\n%s", text)
	}
	if len(l.Attestations) != 1 || l.Attestations[0].Digest != attestation.Digest {
		t.Errorf("attestations are %v", l.Attestations)
	}
	if l.Digest() != first.Digest {
		t.Error("the digest is that of the first image")
	}
}

func TestLayoutMissing(t *testing.T) {
	s := newStore(t)
	if _, err := s.Read("core-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no out/: got %v", err)
	}
	mkdir(t, s.Out("core-empty")) // make leaves this where a build fails
	if _, err := s.Check("core-empty"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: got %v", err)
	}
	for _, gone := range []string{"oci-layout", "blobs", "blobs/sha256"} {
		i := buildImage("layer")
		i.write(t, s.Out("core-x"))
		if err := os.RemoveAll(filepath.Join(s.Out("core-x"), gone)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read("core-x"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: got %v, want an error that is not ErrNotExist", gone, err)
		}
	}
}

// Every blob, one at a time: missing, too long, too short, changed.
func TestWholeFindsDamage(t *testing.T) {
	i := buildImage("layer one", "layer two")
	for d, data := range i.blobs {
		for name, damage := range map[string]func(path string) error{
			"missing": os.Remove,
			"longer":  func(path string) error { return os.WriteFile(path, append(data, 0), 0o644) },
			"shorter": func(path string) error { return os.Truncate(path, int64(len(data)-1)) },
			"changed": func(path string) error { return os.WriteFile(path, flipped(data), 0o644) },
		} {
			s := newStore(t)
			i.write(t, s.Out("core-x"))
			if _, err := s.Check("core-x"); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(s.Out("core-x"), "blobs", "sha256", d.Hex())); err != nil {
				t.Fatal(err)
			}
			_, err := s.Check("core-x")
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %q: Check says %v", name, data, err)
			}
			var missing *layout.MissingBlobError
			if errors.As(err, &missing) != (name == "missing") {
				t.Errorf("%s: got %v", name, err)
			}
			var mismatch *oci.DigestMismatchError
			if errors.As(err, &mismatch) != (name == "changed") || mismatch != nil && mismatch.Want != d {
				t.Errorf("%s: got %v", name, err)
			}
			if _, err := s.Verify(t.Context(), "core-x"); err == nil {
				t.Errorf("%s %q: Verify says nothing", name, data)
			}
		}
	}
}

// A disk that changes a byte and no stamp: Verify sees it, and from then on Check does.
func TestVerifyCorrectsTheStatCache(t *testing.T) {
	s := newStoreLater(t)
	buildImage("layer").write(t, s.Out("core-x"))
	path := filepath.Join(s.Out("core-x"), "blobs", "sha256", oci.DigestOf([]byte("layer")).Hex())
	write(t, path, []byte("lazer"))
	s.stats.Remember(must(disk.StatPath(path))(t), oci.DigestOf([]byte("layer")).Sum())
	must(s.Check("core-x"))(t)
	for _, err := range []error{
		second(s.Verify(t.Context(), "core-x")),
		second(s.Check("core-x")),
	} {
		var mismatch *oci.DigestMismatchError
		if !errors.As(err, &mismatch) || mismatch.Got != oci.DigestOf([]byte("lazer")) {
			t.Errorf("got %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func flipped(data []byte) []byte {
	other := append([]byte(nil), data...)
	other[len(other)/2] ^= 1
	return other
}

func TestVerifyComparesConfig(t *testing.T) {
	s := newStore(t)
	i := newImage()
	m := i.manifest(amd64, "layer")
	m.Platform = &arm64
	i.top = i.index(m)
	i.write(t, s.Out("core-x"))
	_, err := s.Verify(t.Context(), "core-x")
	wantError(t, err, "is listed for linux/arm64, but its config says linux/amd64")
}

func TestSamePlatform(t *testing.T) {
	for _, pair := range [][2]oci.Platform{
		{"linux/amd64", "linux/amd64/v1"}, {"linux/arm64/v8", "linux/arm64"}, {"linux/arm", "linux/arm/v7"},
	} {
		if !oci.SamePlatform(pair[0], pair[1]) {
			t.Errorf("%s and %s are the same", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]oci.Platform{
		{"linux/amd64", "linux/arm64"}, {"linux/amd64", "linux/amd64/v2"}, {"linux/arm/v6", "linux/arm"},
	} {
		if oci.SamePlatform(pair[0], pair[1]) {
			t.Errorf("%s and %s are not the same", pair[0], pair[1])
		}
	}
}
