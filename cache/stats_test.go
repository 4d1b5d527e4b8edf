package cache

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// remembered counts the entries that are still true of the files in a folder.
func remembered(t testing.TB, s *Store, folder string) (known, all int) {
	t.Helper()
	for path := range files(t, folder) {
		st := must(disk.StatPath(filepath.Join(folder, path)))(t)
		if info := must(os.Lstat(filepath.Join(folder, path)))(t); !info.Mode().IsRegular() {
			continue
		}
		all++
		if _, ok := s.stats.Lookup(st); ok {
			known++
		}
	}
	return known, all
}

// A run that changes nothing reads nothing, whatever sx itself did to the links:
// commits, replaced layouts, links into an engine, another process's start.
func TestStatsSurviveOurLinks(t *testing.T) {
	s := newStore(t)
	buildImage("common", "one").commit(t, s, "core-one")
	buildImage("common", "two").commit(t, s, "core-two")
	buildImage("common", "three").commit(t, s, "core-two")
	must(0, s.Link(oci.DigestOf([]byte("common")), filepath.Join(s.tree, "engine")))(t)
	st := must(s.Stage("core-three"))(t)
	if !st.Has(oci.DigestOf([]byte("common"))) {
		t.Fatal("a shared blob must be had")
	}
	must(0, st.Close())(t)
	must(0, s.Stats().Save())(t)
	again := open(t, s.tree)
	for _, output := range []string{"core-one", "core-two"} {
		known, all := remembered(t, again, filepath.Join(again.Out(output), "blobs"))
		if known != all || all < 5 {
			t.Errorf("%s: %d of %d blobs are remembered", output, known, all)
		}
	}
}

func TestSumIsCancelled(t *testing.T) {
	s := newStore(t)
	buildImage("layer").commit(t, s, "core-x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Verify(ctx, "core-x"); err == nil {
		t.Error("Verify went on")
	}
}

// Outputs that share a blob nobody has hashed yet are made at once: one hashes it
// while others link it.
func TestHashWhileLinked(t *testing.T) {
	s := newStore(t)
	data := bytes.Repeat([]byte("x"), 8<<20)
	d := oci.DigestOf(data)
	into, err := s.Stage("core-a")
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	if err := into.WriteBlob(d, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		other := open(t, s.tree) // knows no hash
		dir := t.TempDir()
		var g errgroup.Group
		for i := range 8 {
			g.Go(func() error { return other.Link(d, filepath.Join(dir, strconv.Itoa(i))) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
