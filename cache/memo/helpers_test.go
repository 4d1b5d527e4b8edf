package memo

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"codeberg.org/stagex/sx/cache/disk"
)

// testStore stands for the store that memories and sums are part of.
type testStore struct {
	tree, build string
	now         func() time.Time
	key         disk.Key
	stats       *Stats
	log         *zap.Logger
}

func newStore(t testing.TB) *testStore {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	return open(t, tree)
}

// open opens the store of tree anew.
func open(t testing.TB, tree string) *testStore {
	t.Helper()
	return openAs(t, tree, tree+".key")
}

// openAs opens the store of tree with the key in keyFile.
func openAs(t testing.TB, tree, keyFile string) *testStore {
	t.Helper()
	key, err := disk.LoadKey(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := &testStore{tree: tree, now: time.Now, key: key, log: zaptest.NewLogger(t)}
	if err := os.MkdirAll(s.Dir("tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.stats = NewStats(s.Dir("stats"), key, time.Now, s.log)
	return s
}

func (s *testStore) Dir(elem ...string) string {
	return filepath.Join(append([]string{s.tree, ".sx"}, elem...)...)
}

func (s *testStore) Home() Home {
	make := func() error { return os.MkdirAll(s.Dir("memory"), 0o755) }
	return Home{
		Dir: s.Dir("memory"), Make: make, Tmp: s.Dir("tmp"),
		Build: s.build, Key: s.key, Now: s.now, Log: s.log,
	}
}

// aged makes the clock an hour late, so that no file is too young to remember.
func aged(s *testStore) {
	s.stats.now = func() time.Time { return time.Now().Add(time.Hour) }
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// remembered counts the regular files below folder, and those whose sum is known.
func remembered(t testing.TB, s *testStore, folder string) (known, all int) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		all++
		if _, ok := s.stats.Lookup(must(disk.StatPath(path))(t)); ok {
			known++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return known, all
}
