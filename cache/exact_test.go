package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

// built commits an image and records it as built here.
func built(t *testing.T, s *Store, output string, i *image) Record {
	t.Helper()
	l := i.commit(t, s, output)
	r := sample(output, BuiltHere, "one")
	r.Manifests, r.Index, r.Top = l.Manifests, l.Index, l.Top
	must(0, s.PutRecord(r))(t)
	return must(s.Record(output))(t)
}

func TestExact(t *testing.T) {
	s := newStore(t)
	i := buildImage("layer")
	r := built(t, s, "core-x", i)
	must(0, r.Exact(must(s.Verify(t.Context(), "core-x"))(t)))(t)
	must(0, os.RemoveAll(s.Out("core-x")))(t)
	i.write(t, s.Out("core-x")) // as make leaves the same build
	for _, l := range []Layout{must(s.Check("core-x"))(t), must(s.Import(t.Context(), "core-x"))(t)} {
		must(0, r.Exact(l))(t)
	}
	wantError(t, r.Exact(Layout{}), `of output "core-x"`)
	silent := r
	silent.Index, silent.Top = oci.Digest{}, oci.Digest{}
	wantError(t, silent.Exact(must(s.Check("core-x"))(t)), "does not say")

	// The same image, named by another index or by index.json itself.
	twofold := *i
	twofold.top = i.index(i.manifest(amd64, "layer"), i.manifest(unknown, "provenance"))
	twofold.write(t, s.Out("core-x"))
	wantError(t, r.Exact(must(s.Check("core-x"))(t)), "its image index is not")
	twofold.top = i.manifest(amd64, "layer")
	twofold.top.Annotations = nil
	twofold.write(t, s.Out("core-x"))
	wantError(t, r.Exact(must(s.Check("core-x"))(t)), "its image index is not")
	buildImage("evil").write(t, s.Out("core-x"))
	wantError(t, r.Exact(must(s.Check("core-x"))(t)), "other images")
}

// Whatever lies in the folder beside the build's own files is not exact.
func TestStray(t *testing.T) {
	layer := "blobs/sha256/" + oci.DigestOf([]byte("layer")).Hex()
	evil := "blobs/sha256/" + oci.DigestOf([]byte("evil")).Hex()
	add := func(path string) error { return os.WriteFile(path, []byte("evil"), 0o644) }
	link := func(path string) error { return os.Symlink("../"+layer, path) }
	folder := func(path string) error { return os.Mkdir(path, 0o755) }
	newline := func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(data, '\n'), 0o644)
	}
	for name, change := range map[string]func(string) error{
		"manifest.json": add, "repositories": link, "x\x1b[31m": add, evil: add, "blobs/x": folder,
		"blobs/sha512": link, "blobs/sha256/x": folder, "oci-layout": newline,
	} {
		s := newStore(t)
		r := built(t, s, "core-x", buildImage("layer"))
		must(0, change(s.Out("core-x/"+name)))(t)
		for _, l := range []Layout{
			must(s.Check("core-x"))(t), must(s.Verify(t.Context(), "core-x"))(t), must(s.Import(t.Context(), "core-x"))(t),
		} {
			if !slices.Equal(l.Stray, []string{name}) {
				t.Errorf("%q: stray is %q", name, l.Stray)
			}
			wantError(t, r.Exact(l), fmt.Sprintf("it also holds %q", []string{name}))
		}
	}
	s := newStore(t)
	r := built(t, s, "core-x", buildImage("layer"))
	must(0, newline(s.Out("core-x/index.json")))(t)
	wantError(t, r.Exact(must(s.Check("core-x"))(t)), "its index.json is not")
}

func TestStrayIsBounded(t *testing.T) {
	s := newStore(t)
	buildImage("layer").commit(t, s, "core-x")
	for n := range 2 * 8 {
		write(t, s.Out(fmt.Sprintf("core-x/%02d", n)), nil)
	}
	stray := must(s.Check("core-x"))(t).Stray
	if len(stray) != 8 || stray[0] != "00" || !slices.IsSorted(stray) {
		t.Errorf("stray is %q", stray)
	}
}

// What `docker save` leaves beside its layout is known.
func TestStrayOneLevel(t *testing.T) {
	s := newStore(t)
	i := newImage()
	i.top = i.manifest(amd64, "layer")
	i.write(t, s.Out("core-x"))
	write(t, s.Out("core-x/manifest.json"), []byte("[]"))
	write(t, s.Out("core-x/repositories"), []byte("{}"))
	if l := must(s.Check("core-x"))(t); len(l.Stray) != 0 {
		t.Errorf("stray is %q", l.Stray)
	}
	write(t, s.Out("core-x/other"), nil)
	if l := must(s.Check("core-x"))(t); !slices.Equal(l.Stray, []string{"other"}) {
		t.Errorf("stray is %q", l.Stray)
	}
}

// Blobs that were staged in vain are not in what Commit leaves.
func TestCommitLeavesNothingStray(t *testing.T) {
	s := newStore(t)
	i := buildImage("layer")
	i.add("", []byte("in vain"))
	top := must(i.commit(t, s, "core-x"), nil)(t).Top
	l := must(s.Check("core-x"))(t)
	if len(l.Stray) != 0 || l.Top != top || top.IsZero() {
		t.Errorf("stray is %q, index.json %s, not %s", l.Stray, l.Top, top)
	}
	data := must(os.ReadFile(filepath.Join(s.Out("core-x"), "index.json")))(t)
	if !bytes.Equal(data, must(oci.IndexJSON(i.top.Descriptor, i.top.Annotations))(t)) || oci.DigestOf(data) != top {
		t.Errorf("index.json is %s", data)
	}
}
