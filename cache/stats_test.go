package cache

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func stringReader(s string) *strings.Reader { return strings.NewReader(s) }

// remembered counts the entries that are still true of the files in a folder.
func remembered(t testing.TB, s *Store, folder string) (known, all int) {
	t.Helper()
	for path := range files(t, folder) {
		st := must(statPath(filepath.Join(folder, path)))(t)
		if info := must(os.Lstat(filepath.Join(folder, path)))(t); !info.Mode().IsRegular() {
			continue
		}
		all++
		if _, ok := s.stats.lookup(st); ok {
			known++
		}
	}
	return known, all
}

func TestStatsSum(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(s.tree, "file")
	write(t, path, []byte("one"))
	must(s.Stats().Sum(path))(t)
	if known, _ := remembered(t, s, s.tree); known != 0 {
		t.Error("a file hashed within a tick of its ctime must not be remembered")
	}
	aged(s)
	if sum := must(s.Stats().Sum(path))(t); sum != DigestOf([]byte("one")).Sum() {
		t.Error("wrong sum")
	}
	st := must(statPath(path))(t)
	if _, ok := s.stats.lookup(st); !ok {
		t.Error("an old file must be remembered")
	}
	for name, change := range map[string]func(*stamp){
		"size":  func(s *stamp) { s.Size++ },
		"mtime": func(s *stamp) { s.Mtime++ },
		"ctime": func(s *stamp) { s.Ctime++ },
		"inode": func(s *stamp) { s.Ino++ },
	} {
		other := st
		change(&other)
		if _, ok := s.stats.lookup(other); ok {
			t.Errorf("another %s must be another file", name)
		}
	}
	for _, bad := range []string{s.tree, path + "-absent"} {
		if _, err := s.Stats().Sum(bad); err == nil {
			t.Errorf("sum of %q", bad)
		}
	}
}

func TestRacy(t *testing.T) {
	now := time.Unix(1000, 500)
	for ctime, want := range map[time.Duration]bool{
		-time.Millisecond:      true,
		-99 * time.Millisecond: true,
		-time.Second:           false,
		time.Hour:              true, // the clock was set back
	} {
		st := stamp{Ctime: now.Add(ctime).UnixNano()}
		if racy(st, now) != want {
			t.Errorf("ctime %v: got %v", ctime, !want)
		}
	}
	if !racy(stamp{Ctime: time.Unix(999, 0).UnixNano()}, now) {
		t.Error("a filesystem that counts seconds needs more distance")
	}
}

// A run that changes nothing reads nothing, whatever sx itself did to the links:
// commits, replaced layouts, links into an engine, another process's start.
func TestStatsSurviveOurLinks(t *testing.T) {
	s := newStore(t)
	buildImage("common", "one").commit(t, s, "core-one")
	buildImage("common", "two").commit(t, s, "core-two")
	buildImage("common", "three").commit(t, s, "core-two")
	must(0, s.Link(DigestOf([]byte("common")), filepath.Join(s.tree, "engine")))(t)
	st := must(s.Stage("core-three"))(t)
	if !st.Has(DigestOf([]byte("common"))) {
		t.Fatal("a shared blob must be had")
	}
	must(0, st.Close())(t)
	must(0, s.Stats().Save())(t)
	again := open(t, s.tree)
	for _, output := range []string{"core-one", "core-two"} {
		known, all := remembered(t, again, filepath.Join(again.out(output), "blobs"))
		if known != all || all < 5 {
			t.Errorf("%s: %d of %d blobs are remembered", output, known, all)
		}
	}
}

func TestStatsNoticeOtherChanges(t *testing.T) {
	s := newStore(t)
	aged(s)
	path := filepath.Join(s.tree, "file")
	write(t, path, []byte("one"))
	must(s.stats.Sum(path))(t)
	f := must(os.Open(path))(t)
	defer f.Close()
	must(0, s.stats.keep(f, 1, func() error {
		must(0, os.Link(path, path+"-ours"))(t)
		return os.Link(path, path+"-theirs") // by somebody else meanwhile
	}))(t)
	if _, ok := s.stats.lookup(must(statPath(path))(t)); ok {
		t.Error("a foreign change of links was taken for ours")
	}
	must(s.stats.Sum(path))(t)
	must(0, s.stats.keep(f, 0, func() error { return os.WriteFile(path, []byte("two"), 0o644) }))(t)
	if sum := must(s.stats.Sum(path))(t); sum != DigestOf([]byte("two")).Sum() {
		t.Error("a write was not noticed")
	}
}

func TestStatsSaveMerges(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s.tree), open(t, s.tree)
	aged(a)
	aged(b)
	write(t, filepath.Join(s.tree, "x", "a"), []byte("a"))
	write(t, filepath.Join(s.tree, "x", "b"), []byte("b"))
	must(a.stats.Sum(filepath.Join(s.tree, "x", "a")))(t)
	must(b.stats.Sum(filepath.Join(s.tree, "x", "b")))(t)
	var group errgroup.Group
	group.Go(a.stats.Save)
	group.Go(b.stats.Save)
	must(0, group.Wait())(t)
	if known, all := remembered(t, open(t, s.tree), filepath.Join(s.tree, "x")); known != all {
		t.Errorf("%d of %d are remembered", known, all)
	}
}

func TestStatsFileDamaged(t *testing.T) {
	s := newStore(t)
	buildImage("layer").commit(t, s, "core-x")
	must(0, s.stats.Save())(t)
	data := must(os.ReadFile(s.stats.path))(t)
	if entries := must(parseStats(data, s.key))(t); len(entries) != len(s.stats.table()) {
		t.Errorf("got %d entries, want %d", len(entries), len(s.stats.table()))
	}
	for n := range len(data) - 1 {
		if entries, err := parseStats(data[:n], s.key); err == nil || entries != nil {
			t.Fatalf("the first %d bytes were accepted", n)
		}
		changed := bytes.Clone(data)
		changed[n] ^= 1
		if _, err := parseStats(changed, s.key); err == nil {
			t.Fatalf("a change of %q was accepted", data[n])
		}
	}
	write(t, s.stats.path, data[:len(data)/2])
	again := open(t, s.tree)
	if len(again.stats.table()) != 0 {
		t.Error("a damaged cache must be an empty one")
	}
	must(again.Whole("core-x"))(t)
}

func TestStatsForget(t *testing.T) {
	s := newStore(t)
	aged(s)
	path := filepath.Join(s.tree, "file")
	write(t, path, []byte("one"))
	must(s.stats.Sum(path))(t)
	must(0, s.stats.Save())(t)
	s.stats.now = func() time.Time { return time.Now().AddDate(0, 0, statsDays+2) }
	write(t, path+"-2", []byte("two"))
	must(s.stats.Sum(path + "-2"))(t)
	must(0, s.stats.Save())(t)
	entries := must(s.stats.read())(t)
	if len(entries) != 1 {
		t.Errorf("%d entries are left, want the one in use", len(entries))
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
	d := DigestOf(data)
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
