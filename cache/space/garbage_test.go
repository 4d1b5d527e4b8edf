package space

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// open opens the store of a tree with a key that all its stores share.
func open(t *testing.T, tree string) *cache.Store {
	t.Helper()
	s := must(cache.Open(tree, cache.Options{KeyFile: tree + ".key"}))(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func newStore(t *testing.T) *cache.Store {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	must(0, os.Mkdir(tree, 0o755))(t)
	return open(t, tree)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(0, os.MkdirAll(filepath.Dir(path), 0o755))(t)
	must(0, os.WriteFile(path, []byte(text), 0o644))(t)
}

func writeBlob(t *testing.T, st *cache.Staging, text string) oci.Descriptor {
	t.Helper()
	d := oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: oci.DigestOf([]byte(text)), Size: int64(len(text))}
	must(0, st.WriteBlob(d.Digest, d.Size, strings.NewReader(text)))(t)
	return d
}

// commit puts an image of output with these layers into out/, as a build does.
func commit(t *testing.T, s *cache.Store, output string, layers ...string) cache.Layout {
	t.Helper()
	st := must(s.Stage(output))(t)
	defer st.Close()
	return must(st.Commit(t.Context(), writeImage(t, st, layers...), oci.IndexAnnotations(output, "1")))(t)
}

// writeImage writes the blobs of an image with these layers.
func writeImage(t *testing.T, st *cache.Staging, layers ...string) (index oci.Descriptor) {
	t.Helper()
	config := writeBlob(t, st, `{"architecture":"amd64","os":"linux","rootfs":{}}`)
	config.MediaType = oci.MediaTypeConfig
	var ds []oci.Descriptor
	for _, l := range layers {
		ds = append(ds, writeBlob(t, st, l))
	}
	manifest := must(json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": ds}))(t)
	m := oci.Manifest{Digest: writeBlob(t, st, string(manifest)).Digest, Size: int64(len(manifest)), Platform: "linux/amd64"}
	data, index, err := oci.ImageIndex(m)
	must(0, err)(t)
	writeBlob(t, st, string(data))
	return index
}

// record records a layout as built here, from inputs of its own.
func record(t *testing.T, s *cache.Store, l cache.Layout) cache.Key {
	t.Helper()
	key := must(s.PutInputs(map[string]string{l.Output: l.Digest().String()}))(t)
	must(0, s.PutRecord(cache.Record{Output: l.Output, Origin: cache.BuiltHere, Key: key, Manifests: l.Manifests, Index: l.Index, Top: l.Top}))(t)
	return key
}

func only(outputs ...string) func(string) bool {
	return func(output string) bool { return slices.Contains(outputs, output) }
}

// collect removes what Find finds.
func collect(t *testing.T, s *cache.Store, wanted func(string) bool) (g Garbage) {
	t.Helper()
	var empty func() error
	must(0, s.Alone(func() (err error) {
		if g, err = Find(s, wanted); err == nil {
			empty, err = Quarantine(s, g)
		}
		return err
	}))(t)
	must(0, empty())(t)
	return g
}

// TestGarbage: everything of wanted outputs stays, everything of other outputs goes, and
// what is not an output is listed.
func TestGarbage(t *testing.T) {
	s := newStore(t)
	key := record(t, s, commit(t, s, "core-keep", "common", "keep"))
	old := record(t, s, commit(t, s, "core-keep", "common", "once"))
	gone := record(t, s, commit(t, s, "core-gone", "common", "gone"))
	write(t, s.Dir("logs", "core-gone", "1.log"), "log")
	write(t, s.Dir("logs", "core-keep", "1.log"), "log")
	for _, output := range []string{"core-gone", "core-keep"} {
		differs := must(s.Stage(output))(t)
		_, _, err := differs.Keep(t.Context(), "1-embedded", writeImage(t, differs, output+" differs"), oci.IndexAnnotations(output, "1"))
		must(0, err)(t)
	}
	commit(t, s, "core-made", "made") // as make leaves it: without a record
	must(0, os.CopyFS(s.Out("core-keep.bak"), os.DirFS(s.Out("core-keep"))))(t)
	write(t, s.Out("notes/todo"), "")
	write(t, s.Out("readme"), "")
	write(t, s.Out("Mine/index.json"), "")
	st := must(s.Stage("core-y"))(t)
	writeBlob(t, st, "broken off")
	must(0, st.Close())(t)
	live := must(s.Stage("core-z"))(t)
	defer live.Close()
	writeBlob(t, live, "in flight")

	g := collect(t, s, only("core-keep"))
	if want := []string{s.Out("core-gone"), s.Out("core-made")}; !slices.Equal(g.Outputs, want) {
		t.Errorf("outputs %q, want %q", g.Outputs, want)
	}
	var kept []string
	for _, k := range g.Kept {
		kept = append(kept, filepath.Base(k.Path)+": "+k.Why)
	}
	if want := []string{"Mine: its name is not an output's", "core-keep.bak: it is a layout of another image",
		"notes: it is not an image layout", "readme: it is not a folder"}; !slices.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
	must(s.Verify(t.Context(), "core-keep"))(t)
	must(s.Verify(t.Context(), "core-keep.bak"))(t)
	for text, want := range map[string]bool{"common": true, "once": true, "in flight": true, "gone": false, "broken off": false, "keep": false} {
		if _, err := s.BlobPath(oci.DigestOf([]byte(text))); err == nil != want {
			t.Errorf("the shared blob %q: %v", text, err)
		}
	}
	var v any
	if s.Inputs(key, &v) != nil || s.Inputs(old, &v) != nil {
		t.Error("inputs of a kept proof are gone")
	}
	if s.Inputs(gone, &v) == nil {
		t.Error("inputs of nothing stay")
	}
	for _, path := range []string{"records/core-gone.json", "proofs/core-gone", "logs/core-gone", "differs/core-gone"} {
		if _, err := os.Lstat(s.Dir(path)); err == nil {
			t.Errorf("%s stays", path)
		}
	}
	must(os.Lstat(s.Dir("differs/core-keep/1-embedded")))(t)
	if n := len(must(os.ReadDir(s.Dir("proofs", "core-keep")))(t)); n != 2 {
		t.Errorf("%d proofs of core-keep, want both digests'", n)
	}
	if again := collect(t, s, only("core-keep")); len(again.Outputs)+len(again.Blobs)+len(again.Metadata) != 0 {
		t.Errorf("a second time: %+v", again)
	}
	if left := must(os.ReadDir(s.Dir("tmp")))(t); len(left) != 1 {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestGarbageOfImages: of images of other registries the blobs of those that are named stay.
func TestGarbageOfImages(t *testing.T) {
	s := newStore(t)
	image := commit(t, s, "core-x", "a layer")
	commit(t, s, "core-y", "another")
	must(0, os.RemoveAll(s.Out("")))(t) // only the shared blobs are left
	find := func(images ...oci.Digest) []string {
		var names []string
		for _, path := range must(Find(s, only(), images...))(t).Blobs {
			names = append(names, filepath.Base(path))
		}
		return names
	}
	needed := []oci.Digest{image.Index, image.Digest(), oci.DigestOf([]byte("a layer"))}
	for _, root := range needed[:2] { // by the image index or the manifest
		garbage := find(root)
		for _, d := range needed[slices.Index(needed, root):] {
			if slices.Contains(garbage, d.Hex()) {
				t.Errorf("%s of the image %s goes", d, root)
			}
		}
		if !slices.Contains(garbage, oci.DigestOf([]byte("another")).Hex()) {
			t.Error("a layer of an image that is not named stays")
		}
	}
	if n := len(find()); n != 7 { // they share a config
		t.Errorf("%d blobs go if no image is named, want 7", n)
	}
}

// TestQuarantineAndKilled: garbage of a process that was killed is gone with the next start.
func TestQuarantineAndKilled(t *testing.T) {
	s := newStore(t)
	commit(t, s, "core-gone", "gone")
	must(Quarantine(s, must(Find(s, only()))(t)))(t)
	if _, err := os.Lstat(s.Out("core-gone")); err == nil {
		t.Error("it is still under out/")
	}
	for _, e := range must(os.ReadDir(s.Dir("tmp")))(t) { // a copy, which nothing locks
		must(0, os.Rename(s.Dir("tmp", e.Name()), s.Dir("dead")))(t)
		must(0, os.CopyFS(s.Dir("tmp", e.Name()), os.DirFS(s.Dir("dead"))))(t)
		must(0, os.RemoveAll(s.Dir("dead")))(t)
	}
	open(t, filepath.Dir(s.Out("")))
	if left := must(os.ReadDir(s.Dir("tmp")))(t); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestTally: a file counts once, where it comes first, and its space is freed with its last
// name.
func TestTally(t *testing.T) {
	dir := t.TempDir()
	data := strings.Repeat("x", 1<<16)
	write(t, filepath.Join(dir, "a", "shared"), data)
	write(t, filepath.Join(dir, "a", "own"), data)
	must(0, os.Mkdir(filepath.Join(dir, "b"), 0o755))(t)
	must(0, os.Link(filepath.Join(dir, "a", "shared"), filepath.Join(dir, "b", "shared")))(t)
	must(0, os.Symlink(dir, filepath.Join(dir, "b", "up")))(t)

	var both Tally
	a, b := both.Add(filepath.Join(dir, "a")), both.Add(filepath.Join(dir, "b"))
	if a.Files != 2 || a.Shared != 0 || a.Bytes < 2<<16 {
		t.Errorf("a: %+v", a)
	}
	if b.Files != 1 || b.Shared < 1<<16 || b.Bytes >= 1<<16 {
		t.Errorf("b: %+v", b)
	}
	if got := both.Frees(); got != a.Bytes+b.Bytes {
		t.Errorf("both free %d, want %d", got, a.Bytes+b.Bytes)
	}
	var one Tally
	if one.Add(filepath.Join(dir, "a")); one.Frees() < 1<<16 || one.Frees() >= a.Bytes {
		t.Errorf("a alone frees %d of %d", one.Frees(), a.Bytes)
	}
	if none := one.Add(filepath.Join(dir, "none")); none != (Usage{}) {
		t.Errorf("nothing: %+v", none)
	}
}
