package memo

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

func TestStatsSum(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(s.tree, "file")
	write(t, path, []byte("one"))
	must(s.stats.Sum(path))(t)
	if known, _ := remembered(t, s, s.tree); known != 0 {
		t.Error("a file hashed within a tick of its ctime must not be remembered")
	}
	aged(s)
	if sum := must(s.stats.Sum(path))(t); sum != oci.DigestOf([]byte("one")).Sum() {
		t.Error("wrong sum")
	}
	st := must(disk.StatPath(path))(t)
	if _, ok := s.stats.Lookup(st); !ok {
		t.Error("an old file must be remembered")
	}
	for name, change := range map[string]func(*disk.Stamp){
		"size":  func(s *disk.Stamp) { s.Size++ },
		"mtime": func(s *disk.Stamp) { s.Mtime++ },
		"ctime": func(s *disk.Stamp) { s.Ctime++ },
		"inode": func(s *disk.Stamp) { s.Ino++ },
	} {
		other := st
		change(&other)
		if _, ok := s.stats.Lookup(other); ok {
			t.Errorf("another %s must be another file", name)
		}
	}
	for _, bad := range []string{s.tree, path + "-absent"} {
		if _, err := s.stats.Sum(bad); err == nil {
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
		st := disk.Stamp{Ctime: now.Add(ctime).UnixNano()}
		if racy(st, now) != want {
			t.Errorf("ctime %v: got %v", ctime, !want)
		}
	}
	if !racy(disk.Stamp{Ctime: time.Unix(999, 0).UnixNano()}, now) {
		t.Error("a filesystem that counts seconds needs more distance")
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
	must(0, s.stats.Keep(f, 1, func() error {
		must(0, os.Link(path, path+"-ours"))(t)
		return os.Link(path, path+"-theirs") // by somebody else meanwhile
	}))(t)
	if _, ok := s.stats.Lookup(must(disk.StatPath(path))(t)); ok {
		t.Error("a foreign change of links was taken for ours")
	}
	must(s.stats.Sum(path))(t)
	must(0, s.stats.Keep(f, 0, func() error { return os.WriteFile(path, []byte("two"), 0o644) }))(t)
	if sum := must(s.stats.Sum(path))(t); sum != oci.DigestOf([]byte("two")).Sum() {
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
	aged(s)
	path := filepath.Join(s.tree, "file")
	write(t, path, []byte("layer"))
	must(s.stats.Sum(path))(t)
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
	must(again.stats.Sum(path))(t)
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
