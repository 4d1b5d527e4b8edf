package fetch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOneDownloadPerHash(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	site := serveFile(t, data)
	other := serveFile(t, data)
	a := source("a", data, site.URL)
	b := Source{Name: "user-y: b", Path: "fetch/user/y/b", Hash: a.Hash, Mirrors: []string{other.URL}}
	rep := w.must(a, b, a)
	if len(rep.Fetched) != 1 || len(rep.Linked) != 2 || rep.Linked[0].Path != b.Path {
		t.Errorf("report %+v", rep)
	}
	site.wantRequests(t, 1)
	other.wantRequests(t, 0)
	w.wantFiles(".", "fetch/core/x/a", "fetch/user/y/b")
	wantSameFile(t, w, a.Path, b.Path)
}

func TestMirrorsOfAllPackages(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	a := source("a", data, serve(t, notFound).URL)
	b := source("b", data, serveFile(t, data).URL)
	if rep := w.must(a, b); len(rep.Fetched)+len(rep.Linked) != 2 {
		t.Errorf("report %+v", rep)
	}
}

func TestLinkFromPresent(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	a, b := source("a", data), source("b", data)
	w.write(b.Path, data)
	w.part(a, data[:10])
	rep := w.must(a, b)
	if len(rep.Linked) != 1 || len(rep.Present) != 1 {
		t.Errorf("report %+v", rep)
	}
	wantSameFile(t, w, a.Path, b.Path)
	w.wantFiles(".sx") // the partial file has no more use
	w.log.want("begin 2", "done b present", "done a linked", "end")
}

func TestWrongFileReplaced(t *testing.T) {
	data := noise(1, 1000)
	wrong := bytes.Repeat([]byte("x"), 1000)
	for _, file := range []struct {
		name string
		data []byte
	}{{"same size", wrong}, {"truncated", data[:500]}, {"longer", append(data[:1000:1000], 1)}, {"empty", nil}} {
		t.Run(file.name, func(t *testing.T) {
			w := newWorld(t)
			s := source("a", data, serveFile(t, data).URL)
			w.write(s.Path, file.data)
			if rep := w.must(s); len(rep.Fetched) != 1 {
				t.Errorf("report %+v", rep)
			}
			if got := w.read(".sx/fetch/" + wrongOf(file.data)); !bytes.Equal(got, file.data) {
				t.Errorf("kept %d bytes of the wrong file, want %d", len(got), len(file.data))
			}
		})
	}
}

// One of two names is wrong: the other one serves, and what has several names
// is not written through.
func TestWrongBesideRight(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	a, b := source("a", data), source("b", data)
	w.write(b.Path, data)
	victim := w.write("packages/core/x/a", []byte("precious"))
	os.Link(victim, filepath.Join(w.dir, a.Path))
	w.must(a, b)
	if got := w.read("packages/core/x/a"); string(got) != "precious" {
		t.Errorf("the other name of a wrong file now reads %q", got)
	}
}

func TestNoFile(t *testing.T) {
	data := noise(1, 100)
	outside := filepath.Join(t.TempDir(), "outside")
	os.WriteFile(outside, data, 0o644)
	for name, make := range map[string]func(path string) error{
		"link to the right bytes": func(p string) error { return os.Symlink(outside, p) },
		"link to nothing":         func(p string) error { return os.Symlink("nothing", p) },
		"pipe":                    func(p string) error { return syscall.Mkfifo(p, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := source("a", data, serveFile(t, data).URL)
			w.write("fetch/core/x/other", nil)
			if err := make(filepath.Join(w.dir, s.Path)); err != nil {
				t.Fatal(err)
			}
			w.must(s)
			if info, _ := os.Lstat(filepath.Join(w.dir, s.Path)); !info.Mode().IsRegular() {
				t.Errorf("still %v", info.Mode())
			}
			if got, _ := os.ReadFile(outside); !bytes.Equal(got, data) {
				t.Error("the link's target was touched")
			}
		})
	}
}

func TestFolderUnderFinalName(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 100)
	s, ok := source("a", data), source("b", noise(2, 100), serveFile(t, noise(2, 100)).URL)
	w.write(s.Path+"/file", nil)
	_, err := w.run(s, ok)
	wantReasons(t, err, `"fetch/core/x/a" is a folder`)
	w.wantWhole(ok)
}

func TestSum(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 100)
	s := source("a", data)
	abs := w.write(s.Path, data)
	calls := 0
	w.opts.Sum = func(path string) ([32]byte, error) {
		if calls++; path != abs {
			t.Errorf("Sum(%q), want %q", path, abs)
		}
		return sha256.Sum256(data), nil
	}
	w.must(s)
	if calls != 1 {
		t.Errorf("%d calls of Sum, want 1", calls)
	}
	w.opts.Sum = func(string) ([32]byte, error) { return [32]byte{}, errors.New("disk on fire") }
	_, err := w.run(s)
	wantReasons(t, err, `reading "fetch/core/x/a": disk on fire`)
	w.wantFiles("fetch", "core/x/a")
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	w.opts.Offline = true
	site := serveFile(t, noise(1, 10))
	data := noise(5, 100)
	missing := source("missing", noise(1, 10), site.URL)
	wrong := source("wrong", noise(2, 10), site.URL)
	present := source("present", noise(3, 10), site.URL)
	linked := source("linked", noise(3, 10), site.URL)
	finished := source("finished", data, site.URL)
	begun := source("begun", noise(6, 100), site.URL)
	w.write(wrong.Path, []byte("wrong"))
	w.write(present.Path, noise(3, 10))
	w.part(finished, data) // killed just before it got its name
	w.part(begun, noise(6, 100)[:50])
	rep, err := w.run(wrong, present, missing, linked, finished, begun)
	var off *OfflineError
	if !errors.As(err, &off) || len(off.Missing) != 3 {
		t.Fatalf("Run: %v, want an *OfflineError with 3 missing", err)
	}
	want := []string{
		`"fetch/core/x/begun" is missing`,
		`"fetch/core/x/missing" is missing`,
		`"fetch/core/x/wrong": wrong file: sha256 `,
	}
	for i, m := range off.Missing {
		if got := m.Error(); len(got) < len(want[i]) || got[:len(want[i])] != want[i] {
			t.Errorf("missing %q, want %q", got, want[i])
		}
	}
	if want := fmt.Sprintf(`offline, 3 sources missing or wrong: "fetch/core/x/begun", "fetch/core/x/missing", "fetch/core/x/wrong"
"fetch/core/x/wrong": wrong file: sha256 %x, want %s`, sha256.Sum256([]byte("wrong")), wrong.Hash); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if len(rep.Present) != 1 || len(rep.Linked) != 1 || len(rep.Fetched) != 1 || rep.Bytes != 0 {
		t.Errorf("report %+v", rep)
	}
	site.wantRequests(t, 0)
	w.wantWhole(present, linked, finished)
	w.wantFiles("fetch", "core/x/finished", "core/x/linked", "core/x/present", "core/x/wrong")
	if _, err := os.Stat(filepath.Join(w.dir, ".sx/fetch", begun.Hash.String()+".part")); err != nil {
		t.Error("offline lost a partial file")
	}
}

func TestEmptyFile(t *testing.T) {
	w := newWorld(t)
	w.must(source("a", nil, serveFile(t, nil).URL))
}

func wantSameFile(t *testing.T, w *world, a, b string) {
	t.Helper()
	ia, _ := os.Stat(filepath.Join(w.dir, a))
	ib, _ := os.Stat(filepath.Join(w.dir, b))
	if !os.SameFile(ia, ib) {
		t.Errorf("%s and %s are no hard links", a, b)
	}
}

// Between the look and the reading another run may move a wrong file away.
func TestGoneWhileReading(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 100)
	s := source("a", data, serveFile(t, data).URL)
	abs := w.write(s.Path, []byte("wrong"))
	w.opts.Sum = func(string) ([32]byte, error) {
		os.Remove(abs)
		_, err := os.Open(abs)
		return [32]byte{}, err
	}
	w.must(s)
}
