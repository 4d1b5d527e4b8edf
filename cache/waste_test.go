package cache

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
)

// named gives an image the name that make and sx give it.
func named(i *image, output string) *image {
	i.top.Annotations = map[string]string{oci.AnnotationName: "docker.io/stagex/" + output + ":1", oci.AnnotationRefName: "1"}
	return i
}

// record records a layout as built here, from inputs of its own.
func record(t *testing.T, s *Store, l Layout) Key {
	t.Helper()
	key := must(s.PutInputs(map[string]string{l.Output: l.Digest().String()}))(t)
	must(0, s.PutRecord(Record{Output: l.Output, Origin: BuiltHere, Key: key, Manifests: l.Manifests, Index: l.Index, Top: l.Top}))(t)
	return key
}

func only(outputs ...string) func(string) bool {
	return func(output string) bool { return slices.Contains(outputs, output) }
}

// collect removes what FindWaste finds.
func collect(t *testing.T, s *Store, wanted func(string) bool) (w Waste) {
	t.Helper()
	var empty func() error
	must(0, s.Alone(func() (err error) {
		if w, err = s.FindWaste(wanted); err == nil {
			empty, err = s.SetAside(w)
		}
		return err
	}))(t)
	must(0, empty())(t)
	return w
}

// What belongs to the outputs that are wanted stays, all of what belongs to others
// goes, and what is neither is told.
func TestWaste(t *testing.T) {
	s := newStore(t)
	key := record(t, s, named(buildImage("common", "keep"), "core-keep").commit(t, s, "core-keep"))
	old := record(t, s, named(buildImage("common", "once"), "core-keep").commit(t, s, "core-keep"))
	gone := record(t, s, named(buildImage("common", "gone"), "core-gone").commit(t, s, "core-gone"))
	write(t, s.Dir("logs", "core-gone", "1.log"), []byte("log"))
	write(t, s.Dir("logs", "core-keep", "1.log"), []byte("log"))
	named(buildImage("made"), "core-made").write(t, s.out("core-made")) // as make leaves it
	named(buildImage("mine"), "core-keep").write(t, s.out("core-keep.bak"))
	write(t, s.out("notes/todo"), nil)
	write(t, s.out("readme"), nil)
	write(t, s.out("Mine/index.json"), nil)
	st := must(s.Stage("core-y"))(t)
	must(0, st.WriteBlob(oci.DigestOf([]byte("broken off")), 10, stringReader("broken off")))(t)
	must(0, st.Close())(t)
	live := must(s.Stage("core-z"))(t)
	defer live.Close()
	must(0, live.WriteBlob(oci.DigestOf([]byte("in flight")), 9, stringReader("in flight")))(t)

	w := collect(t, s, only("core-keep"))
	if want := []string{s.out("core-gone"), s.out("core-made")}; !slices.Equal(w.Outputs, want) {
		t.Errorf("outputs %q, want %q", w.Outputs, want)
	}
	var kept []string
	for _, k := range w.Kept {
		kept = append(kept, filepath.Base(k.Path)+": "+k.Why)
	}
	if want := []string{"Mine: its name is not an output's", "core-keep.bak: it is a layout of another image",
		"notes: it is no image layout", "readme: it is no folder"}; !slices.Equal(kept, want) {
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
	for _, path := range []string{"records/core-gone.json", "proofs/core-gone", "logs/core-gone"} {
		if _, err := os.Lstat(s.Dir(path)); err == nil {
			t.Errorf("%s stays", path)
		}
	}
	if n := len(must(os.ReadDir(s.Dir("proofs", "core-keep")))(t)); n != 2 {
		t.Errorf("%d proofs of core-keep, want both digests'", n)
	}
	if again := collect(t, s, only("core-keep")); len(again.Outputs)+len(again.Blobs)+len(again.Notes) != 0 {
		t.Errorf("a second time: %+v", again)
	}
	if left := must(os.ReadDir(s.Dir("tmp")))(t); len(left) != 1 {
		t.Errorf("left in tmp: %v", left)
	}
}

// Who is alone waits for nobody, and whoever comes then waits.
func TestAlone(t *testing.T) {
	s := newStore(t)
	other := open(t, s.tree)
	never := func() error { t.Error("not alone"); return nil }
	if err := s.Alone(never); !errors.Is(err, ErrInUse) {
		t.Errorf("beside another: %v", err)
	}
	if err := other.Alone(never); !errors.Is(err, ErrInUse) {
		t.Errorf("beside one that tried: %v", err)
	}
	must(0, other.Close())(t)
	opened := make(chan *Store)
	must(0, s.Alone(func() error {
		go func() { opened <- open(t, s.tree) }()
		select {
		case <-opened:
			t.Error("another one opened the store meanwhile")
		case <-time.After(50 * time.Millisecond): // long for an open; a slow one cannot fail the test
		}
		return nil
	}))(t)
	if err := (<-opened).Alone(never); !errors.Is(err, ErrInUse) {
		t.Errorf("after having been alone: %v", err)
	}
}

// Waste that was set aside by a process which then died is gone with the next start.
func TestSetAsideAndKilled(t *testing.T) {
	s := newStore(t)
	named(buildImage("gone"), "core-gone").commit(t, s, "core-gone")
	w := must(s.FindWaste(only()))(t)
	must(s.SetAside(w))(t)
	if _, err := os.Lstat(s.out("core-gone")); err == nil {
		t.Error("it is still under out/")
	}
	for _, e := range must(os.ReadDir(s.Dir("tmp")))(t) { // a dead one's lock is nobody's
		must(0, os.Rename(s.Dir("tmp", e.Name()), s.Dir("dead")))(t)
		must(0, os.CopyFS(s.Dir("tmp", e.Name()), os.DirFS(s.Dir("dead"))))(t)
		must(0, os.RemoveAll(s.Dir("dead")))(t)
	}
	open(t, s.tree)
	if left := must(os.ReadDir(s.Dir("tmp")))(t); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// A file counts once, where it is met first, and frees its space only with its
// last name.
func TestTally(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, 1<<16)
	write(t, filepath.Join(dir, "a", "shared"), data)
	write(t, filepath.Join(dir, "a", "own"), data)
	mkdir(t, dir, "b")
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
