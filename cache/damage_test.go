package cache

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// reopened opens a store that keeps what it learnt, on a tree whose files are old
// enough.
func reopened(t testing.TB, tree string) *Store {
	t.Helper()
	return must(Open(tree, Options{KeyFile: tree + ".key", Build: "test", Now: later, Log: zaptest.NewLogger(t)}))(t)
}

// rot changes a byte of a file and lets s believe that the old sum belongs to the new
// times: this is how a file looks that a failing disk changed.
func rot(t testing.TB, s *Store, path string) {
	t.Helper()
	before := must(disk.StatPath(path))(t)
	sum, ok := s.stats.Lookup(before)
	if !ok {
		t.Fatalf("no sum of %q is remembered, so this test shows nothing", path)
	}
	data := must(os.ReadFile(path))(t)
	data[len(data)/2] ^= 4
	must(0, errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644), os.Chmod(path, before.Mode)))(t)
	must(0, os.Chtimes(path, time.Time{}, time.Unix(0, before.Mtime)))(t)
	s.stats.Remember(must(disk.StatPath(path))(t), sum)
}

// layerOf is the path of a layer in a layout.
func layerOf(s *Store, output, layer string) string {
	return filepath.Join(s.Out(output), "blobs", "sha256", oci.DigestOf([]byte(layer)).Hex())
}

// TestDamageIsNotForgotten: a layer that is in two outputs changes without a trace.
// Once one of them was verified, or read by anybody, neither is whole for any reader,
// in this run and, though it was killed, in the next.
func TestDamageIsNotForgotten(t *testing.T) {
	const layer = "a layer that two share"
	for name, find := range map[string]func(*Store) error{
		"verify": func(s *Store) error { _, err := s.Verify(t.Context(), "core-a"); return err },
		"dependency": func(s *Store) error {
			must(0, os.Remove(s.shared(oci.DigestOf([]byte(layer)))))(t)
			_, err := s.Verify(t.Context(), "core-b")
			return err
		},
		"pushed": func(s *Store) error {
			img := must(s.Image("core-a"))(t)
			defer img.Close()
			var errs []error
			for _, d := range img.Blobs {
				r := must(img.Open(d))(t)
				_, err := io.Copy(io.Discard, r)
				errs = append(errs, err, r.Close())
			}
			return errors.Join(errs...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := mkdir(t, t.TempDir(), "tree")
			s := reopened(t, tree)
			buildImage("a", layer).commit(t, s, "core-a")
			buildImage("b", layer).commit(t, s, "core-b")
			whole := func(s *Store, output string) error { _, err := s.Check(output); return err }
			must(0, errors.Join(whole(s, "core-a"), whole(s, "core-b"), s.Save()))(t)
			rot(t, s, layerOf(s, "core-a", layer))
			if err := errors.Join(whole(s, "core-a"), whole(s, "core-b"), s.Save()); err != nil {
				t.Fatalf("the damage shows before anybody has read it (%v), so this test shows nothing", err)
			}
			if err := find(s); err == nil {
				t.Fatal("the damage is not found")
			}
			killed := reopened(t, tree) // without what s would save when it ends
			for i, s := range []*Store{s, killed, killed} {
				for _, output := range []string{"core-b", "core-a"} {
					if err := whole(s, output); err == nil {
						t.Errorf("%d: %s is whole", i, output)
					}
					if _, err := s.Image(output); err == nil {
						t.Errorf("%d: %s can be given away", i, output)
					}
				}
				if _, err := s.BlobPath(oci.DigestOf([]byte(layer))); err == nil {
					t.Errorf("%d: the shared blob can be had", i)
				}
			}
			// Built again, both are whole, and nothing remains of it.
			buildImage("a", layer).commit(t, killed, "core-a")
			buildImage("b", layer).commit(t, killed, "core-b")
			must(0, errors.Join(whole(killed, "core-a"), whole(killed, "core-b"), killed.Close()))(t)
			if marks := must(disk.List(s.Dir("damaged")))(t); len(marks) != 0 {
				t.Errorf("marks remain: %v", marks)
			}
		})
	}
}

// TestDamagedIndexIsNotForgotten: the file that no digest names.
func TestDamagedIndexIsNotForgotten(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	s := reopened(t, tree)
	buildImage("a").commit(t, s, "core-a")
	was := must(s.Check("core-a"))(t)
	must(0, s.Save())(t)
	rot(t, s, filepath.Join(tree, "out/core-a/index.json"))
	if l := must(s.Check("core-a"))(t); l.Top != was.Top {
		t.Fatal("the damage shows before anybody has read it, so this test shows nothing")
	}
	must(0, s.Save())(t)
	s.Verify(t.Context(), "core-a")
	for _, s := range []*Store{s, reopened(t, tree)} {
		if l, err := s.Check("core-a"); err == nil && l.Top == was.Top {
			t.Error("it is what it was")
		}
	}
}

// TestSourceDamageIsNotForgotten: what is hashed again and is not what was remembered
// is remembered as it is, also when the run is killed, and whatever another run saves
// that looked at it before.
func TestSourceDamageIsNotForgotten(t *testing.T) {
	tree := mkdir(t, t.TempDir(), "tree")
	path := filepath.Join(tree, "fetch", "source")
	write(t, path, []byte("a source"))
	s := reopened(t, tree)
	must(s.Stats().Sum(path))(t)
	rot(t, s, path)
	must(0, s.Save())(t)
	inTwoDays := func() time.Time { return time.Now().Add(48 * time.Hour) }
	other := must(Open(tree, Options{KeyFile: tree + ".key", Build: "test", Now: inTwoDays}))(t)
	if sum := must(other.Stats().Sum(path))(t); sum != oci.DigestOf([]byte("a source")).Sum() {
		t.Fatal("the damage shows before anybody has read it, so this test shows nothing")
	}
	got := must(s.Stats().Rehash(t.Context(), path))(t)
	if got == oci.DigestOf([]byte("a source")).Sum() {
		t.Fatal("it was not read")
	}
	must(0, other.Save())(t)
	if sum := must(reopened(t, tree).Stats().Sum(path))(t); sum != got {
		t.Error("the damage was forgotten")
	}
}
