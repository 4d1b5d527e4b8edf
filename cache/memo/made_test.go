package memo

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestPutMade: what was made is kept only as it was made, and only if its times lie so far
// back that a change would show.
func TestPutMade(t *testing.T) {
	long := time.Now().Add(-Past)
	for name, change := range map[string]func(t *testing.T, file string, made []Item){
		"": func(*testing.T, string, []Item) {},
		"too young": func(t *testing.T, file string, made []Item) {
			at := time.Now().Add(-racyWindow / 2)
			if err := os.Chtimes(file, at, at); err != nil {
				t.Fatal(err)
			}
			made[1].St.Mtime = at.UnixNano()
		},
		"written to": func(t *testing.T, file string, made []Item) { write(t, file, []byte("two")) },
		"another file": func(t *testing.T, file string, made []Item) {
			write(t, file+".new", []byte("one"))
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
			seal(t, file, long)
			seal(t, filepath.Dir(file), long)
		},
		"one more": func(t *testing.T, file string, made []Item) { write(t, file+"2", nil) },
		"another mode": func(t *testing.T, file string, made []Item) {
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, file string, made []Item) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			seal(t, filepath.Dir(file), long)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			m := New(s.tree, "")
			file := filepath.Join(s.tree, "d", "file")
			write(t, file, []byte("one"))
			seal(t, file, long)
			seal(t, filepath.Dir(file), long)
			made := m.Observe("d").items
			change(t, file, made)
			m.PutMade("d", made, "value")
			if value, ok := m.Peek("d"); ok != (name == "") || ok && value != "value" {
				t.Errorf("kept %q, %v", value, ok)
			}
		})
	}
}

func seal(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// TestPutMadeLinked: a link that was made while a layout was filled is no reason to hash the
// file again.
func TestPutMadeLinked(t *testing.T) {
	s := newStore(t)
	m := New(s.tree, "")
	m.Stats = s.stats
	file := filepath.Join(s.tree, "d", "file")
	write(t, file, []byte("one"))
	seal(t, file, time.Now().Add(-Past))
	seal(t, filepath.Dir(file), time.Now().Add(-Past))
	made := m.Observe("d").items
	made[1].Sum = sha256.Sum256([]byte("one"))
	s.stats.Remember(made[1].St, made[1].Sum)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.stats.Keep(f, 1, func() error { return os.Link(file, s.tree+"/other") }); err != nil {
		t.Fatal(err)
	}
	m.PutMade("d", made, "value")
	before := s.stats.Hashed()
	if value, ok := m.Get("d", nil); !ok || value != "value" {
		t.Errorf("kept %q, %v", value, ok)
	}
	if n := s.stats.Hashed() - before; n != 0 {
		t.Errorf("%d bytes were hashed again", n)
	}
}
