package buildlog

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache"
)

// Logs are in the order of their builds, whatever the clock says, and only the last are
// kept.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	store, err := cache.Open(dir, cache.Options{KeyFile: filepath.Join(dir, "key")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var paths []string
	for n := range keptLogs + 2 {
		l, err := Create(store, "core-x", at.Add(-time.Duration(n)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write([]byte("#1 building\n")); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, l.Path)
		if open := opened(t, store, l.Path); !open.Running() || open.Ended() != "" {
			t.Error("it does not run")
		}
		l.End("built after 1s")
		open, text := opened(t, store, l.Path), bytes.Buffer{}
		if err := open.Print(&text); err != nil || open.Running() || open.Ended() != "built" {
			t.Errorf("it runs, or ended otherwise: %q, %v", open.Ended(), err)
		}
		if want := "#1 building\n" + LogEnd + "built after 1s\n"; text.String() != want {
			t.Errorf("got %q, want %q", text.String(), want)
		}
	}
	if !slices.IsSorted(paths) || len(slices.Compact(slices.Clone(paths))) != len(paths) {
		t.Errorf("they are not in order: %v", paths)
	}
	left, err := os.ReadDir(store.Dir(logsDir, "core-x"))
	if err != nil || len(left) != keptLogs || left[0].Name() != filepath.Base(paths[2]) {
		t.Errorf("%d are kept, from %v: %v", len(left), left[0], err)
	}
}

// opened opens the newest log, which must be at path.
func opened(t *testing.T, store *cache.Store, path string) *Log {
	t.Helper()
	l, err := Open(store.Dir(), "core-x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if l.Path != path {
		t.Errorf("the newest log is %s, want %s", l.Path, path)
	}
	return l
}
