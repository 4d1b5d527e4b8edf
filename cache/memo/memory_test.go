package memo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
)

// remembering returns a memory attached to a store whose clock is an hour ahead, so
// that nothing in its tree is too young, and the folder d in that tree.
func remembering(t testing.TB, s *testStore) *Memo {
	t.Helper()
	later := func() time.Time { return time.Now().Add(time.Hour) }
	s.now, s.stats.now, s.build = later, later, "build 1"
	m := New(s.tree, "fetch")
	m.Attach(s.Home(), "test")
	return m
}

func newFolder(t testing.TB, s *testStore) string {
	t.Helper()
	dir := filepath.Join(s.tree, "d")
	write(t, filepath.Join(dir, "file"), []byte("one"))
	write(t, filepath.Join(dir, "below", "deep"), []byte("deep"))
	write(t, filepath.Join(dir, "fetch", "source"), []byte("source"))
	if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// learn remembers value of d as a run would, in the memory's file too.
func learn(t testing.TB, s *testStore, value string) {
	t.Helper()
	m := remembering(t, s)
	if got, ok := m.Get("d", nil); ok {
		t.Fatalf("recalled %q before anything was remembered", got)
	}
	m.Put(m.Observe("d"), value)
	if err := m.Save(); err != nil {
		t.Fatal(err)
	}
}

func recalls(t testing.TB, s *testStore, want string) {
	t.Helper()
	m := remembering(t, s)
	got, ok := m.Get("d", nil)
	if ok != (want != "") || got != want {
		t.Errorf("recalled %q, %v; want %q", got, ok, want)
	}
}

// TestMemoryForgets changes what was remembered in every way that must not go
// unnoticed.
func TestMemoryForgets(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// same writes text of the old length and puts the mtime back.
	same := func(t *testing.T, path, text string) {
		info, err := os.Lstat(path)
		must(t, err)
		must(t, os.WriteFile(path, []byte(text), 0o644))
		must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	for name, change := range map[string]func(t *testing.T, dir string){
		"edit, same size and mtime": func(t *testing.T, dir string) { same(t, dir+"/file", "two") },
		"edit below":                func(t *testing.T, dir string) { same(t, dir+"/below/deep", "peed") },
		"longer":                    func(t *testing.T, dir string) { must(t, os.WriteFile(dir+"/file", []byte("one!"), 0o644)) },
		"file renamed over": func(t *testing.T, dir string) {
			must(t, os.WriteFile(dir+"/../new", []byte("two"), 0o644))
			must(t, os.Rename(dir+"/../new", dir+"/file"))
		},
		"names swapped": func(t *testing.T, dir string) {
			must(t, os.Rename(dir+"/file", dir+"/../x"))
			must(t, os.Rename(dir+"/below/deep", dir+"/file"))
			must(t, os.Rename(dir+"/../x", dir+"/below/deep"))
		},
		"file added":   func(t *testing.T, dir string) { must(t, os.WriteFile(dir+"/new", nil, 0o644)) },
		"added below":  func(t *testing.T, dir string) { must(t, os.WriteFile(dir+"/below/new", nil, 0o644)) },
		"file removed": func(t *testing.T, dir string) { must(t, os.Remove(dir+"/file")) },
		"folder swapped": func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.CopyFS(dir, os.DirFS(dir+".old/below")))
		},
		"folder gone":          func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) },
		"executable":           func(t *testing.T, dir string) { must(t, os.Chmod(dir+"/file", 0o755)) },
		"link leads elsewhere": func(t *testing.T, dir string) { relink(t, dir+"/link", "elif") },
		"file became a link":   func(t *testing.T, dir string) { relink(t, dir+"/file", "below/deep") },
		"folder became a link": func(t *testing.T, dir string) { must(t, os.Rename(dir, dir+".old")); relink(t, dir, "d.old") },
		"subfolder became a link": func(t *testing.T, dir string) {
			must(t, os.Rename(dir+"/below", dir+"/../below"))
			relink(t, dir+"/below", "../below")
		},
		"link became a file": func(t *testing.T, dir string) {
			must(t, os.Remove(dir+"/link"))
			must(t, os.WriteFile(dir+"/link", []byte("file"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			dir := newFolder(t, s)
			learn(t, s, "learnt")
			recalls(t, s, "learnt")
			change(t, dir)
			recalls(t, s, "")
		})
	}
}

func relink(t *testing.T, path, target string) {
	t.Helper()
	os.Remove(path)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// TestMemoryHolds changes what does not matter: that costs a look, not the
// recollection, and the next run does not look again.
func TestMemoryHolds(t *testing.T) {
	s := newStore(t)
	dir := newFolder(t, s)
	learn(t, s, "learnt")
	for _, err := range []error{
		os.WriteFile(dir+"/fetch/more", nil, 0o644),
		os.RemoveAll(dir + "/fetch"),
		os.WriteFile(dir+"/file", []byte("one"), 0o644),
		os.Chtimes(dir+"/below/deep", time.Now(), time.Unix(1, 0)),
		os.Link(dir+"/below/deep", dir+"/../linked"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m := remembering(t, s)
	var items []Item
	got, ok := m.Get("d", func(i Item) { items = append(items, i) })
	if !ok || got != "learnt" {
		t.Fatalf("recalled %q, %v", got, ok)
	}
	same := func(a, b Item) bool { return a.Path == b.Path && a.Mode == b.Mode && a.Sum == b.Sum && a.St.Same(b.St) }
	if !slices.EqualFunc(items, m.Items("d"), same) || len(items) != 5 {
		t.Errorf("recalled items\n%v, kept\n%v", items, m.Items("d"))
	}
	for _, i := range items {
		if i.Path == "below/deep" && !i.ModTime().Equal(time.Unix(1, 0)) {
			t.Errorf("its mtime is %v, not that of now", i.ModTime())
		}
	}
	if !m.dirty {
		t.Error("new stamps are not saved")
	}
	if err := m.Save(); err != nil {
		t.Fatal(err)
	}
	if m = remembering(t, s); !recallsClean(m) {
		t.Error("the next run hashes again")
	}
}

func recallsClean(m *Memo) bool {
	_, ok := m.Get("d", nil)
	return ok && !m.dirty
}

// A file that changed just before it was read may change again without a new
// ctime.
func TestMemoryIsWaryOfTheYoung(t *testing.T) {
	s := newStore(t)
	dir := newFolder(t, s)
	m := New(s.tree, "fetch")
	m.Attach(s.Home(), "test")
	m.now = func() time.Time {
		info, err := disk.StatPath(dir + "/file")
		if err != nil {
			t.Fatal(err)
		}
		return time.Unix(0, info.Ctime).Add(50 * time.Millisecond)
	}
	m.Put(m.Observe("d"), "learnt")
	if _, ok := m.Get("d", nil); ok {
		t.Error("remembered what may have changed since")
	}
	// nor where the clock was set back since the file was written
	m.now = func() time.Time { return time.Now().Add(-time.Hour) }
	m.Put(m.Observe("d"), "learnt")
	if _, ok := m.Get("d", nil); ok {
		t.Error("remembered what is from the future")
	}
}

// What changes while it is read is not remembered.
func TestMemoryOfWhatChangesMeanwhile(t *testing.T) {
	s := newStore(t)
	dir := newFolder(t, s)
	m := remembering(t, s)
	seen := m.Observe("d")
	write(t, dir+"/file", []byte("two"))
	m.Put(seen, "what was learnt of one")
	recallsNothing(t, m)
	m.Put(m.Observe("absent"), "x")
	if _, ok := m.Get("absent", nil); ok {
		t.Error("remembered what is not there")
	}
}

func recallsNothing(t *testing.T, m *Memo) {
	t.Helper()
	if got, ok := m.Get("d", nil); ok {
		t.Errorf("recalled %q", got)
	}
}

// TestMemoryFile cuts and bends the file at every byte, and lets others have
// written it.
func TestMemoryFile(t *testing.T) {
	s := newStore(t)
	newFolder(t, s)
	learn(t, s, "learnt")
	path := s.Dir("memory", "test")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		write(t, path, whole[:n])
		recalls(t, s, "")
		bent := []byte(strings.Clone(string(whole)))
		bent[n] ^= 1
		write(t, path, bent)
		recalls(t, s, "")
	}
	write(t, path, append(whole, 0))
	recalls(t, s, "")
	write(t, path, whole)
	recalls(t, s, "learnt")

	s.build = "build 2"
	m := New(s.tree, "fetch")
	m.Attach(s.Home(), "test")
	recallsNothing(t, m)
	if err := os.Rename(path, s.Dir("memory", "other")); err != nil {
		t.Fatal(err)
	}
	m = New(s.tree, "fetch")
	s.build = "build 1"
	m.Attach(s.Home(), "other")
	recallsNothing(t, m)
}

// TestMemoryOfACopy: a tree that was copied with its .sx is not believed without
// this user's key, and with it only as far as its files are what they were.
func TestMemoryOfACopy(t *testing.T) {
	s := newStore(t)
	newFolder(t, s)
	learn(t, s, "learnt")
	tree := t.TempDir() + "/copy"
	if err := os.CopyFS(tree, os.DirFS(s.tree)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tree+"/.sx", 0o700); err != nil {
		t.Fatal(err)
	}
	foreign := openAs(t, tree, tree+".key")
	recalls(t, foreign, "")

	ours := openAs(t, tree, s.tree+".key")
	recalls(t, ours, "learnt")
	write(t, tree+"/d/file", []byte("two"))
	recalls(t, ours, "")
}

// Two at once, each with what the other did not see, leave a file that is whole.
func TestMemoryOfTwo(t *testing.T) {
	s := newStore(t)
	newFolder(t, s)
	learn(t, s, "learnt")
	done := make(chan error)
	for range 2 {
		go func() {
			var errs []error
			for range 20 {
				m := New(s.tree, "fetch")
				m.Attach(s.Home(), "test")
				if got, ok := m.Get("d", nil); !ok || got != "learnt" {
					errs = append(errs, fmt.Errorf("recalled %q, %v", got, ok))
				}
				m.dirty = true
				errs = append(errs, m.Save())
			}
			done <- errors.Join(errs...)
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	recalls(t, s, "learnt")
}

// FuzzRecollection: what no memory packed is an error or something that packs and
// unpacks alike.
func FuzzRecollection(f *testing.F) {
	f.Add(newEntry("d", []Item{{Mode: 0o755 | fs.ModeDir}, {Path: "file", Mode: 0o644, Sum: [32]byte{1}}}, "learnt").packed)
	f.Add("\x01d\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, packed string) {
		if packed == "" {
			return
		}
		r, err := (&entry{packed: packed}).unpack(new([]Item))
		if err != nil {
			return
		}
		again, err := newEntry("d", r.items, r.value).unpack(new([]Item))
		if err != nil || again.value != r.value || !slices.Equal(again.items, r.items) {
			t.Errorf("unpacked %v, %q; again %v, %q, %v", r.items, r.value, again.items, again.value, err)
		}
	})
}

// TestPutRead: the bytes that a caller has read stand for the files that they are from.
func TestPutRead(t *testing.T) {
	s := newStore(t)
	dir := newFolder(t, s)
	m := remembering(t, s)
	m.Put(m.Observe("d"), "learnt")
	want := m.Items("d")
	m.PutRead(m.Observe("d"), "learnt", map[string][]byte{"file": []byte("one"), "link": []byte("file"), "below": nil, "none": nil})
	if got := m.Items("d"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	m.PutRead(m.Observe("d"), "learnt", map[string][]byte{"file": []byte("of another size")})
	if got := m.Items("d"); !slices.Equal(got, want) {
		t.Errorf("with bytes of another file: got %v, want %v", got, want)
	}
	write(t, dir+"/file", []byte("two"))
	recallsNothing(t, m)
}
