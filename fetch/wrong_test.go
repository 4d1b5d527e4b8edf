package fetch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// wrongOf is the name that a wrong file gets.
func wrongOf(data []byte) string { return fmt.Sprintf("%x.wrong", sha256.Sum256(data)) }

// A wrong file is gone at once, not only when the right one comes; and because
// the hash may be what is wrong, it is told what the file is, and where it went.
func TestWrongFileLeavesItsName(t *testing.T) {
	w := newWorld(t)
	site := serve(t, notFound)
	s := source("a", noise(1, 10), site.URL)
	w.write(s.Path, []byte("committed"))
	_, err := w.run(s)
	w.wantFiles("fetch")
	name := wrongOf([]byte("committed"))
	if got := w.read(".sx/fetch/" + name); string(got) != "committed" {
		t.Errorf("kept %q", got)
	}
	moved := fmt.Sprintf(`"fetch/core/x/a" was moved to ".sx/fetch/%s": wrong file: sha256 %s, want %s`, name, strings.TrimSuffix(name, ".wrong"), s.Hash)
	if want := fmt.Sprintf(`could not fetch 1 of 1 sources: "core-x: a": %s; %s: HTTP status 404 Not Found`, moved, site.URL); err.Error() != want {
		t.Errorf("error\n%s\nwant\n%s", err, want)
	}
	var table strings.Builder
	err.(*Error).Table(&table)
	if want := "core-x: a - " + moved; !strings.Contains(squeeze(table.String()), want) {
		t.Errorf("table\n%s\nwant in it\n%s", table.String(), want)
	}
	var wrong *WrongError
	if !errors.As(err, &wrong) || wrong.MovedTo != ".sx/fetch/"+name {
		t.Errorf("wrong = %+v", wrong)
	}
}

// Two wrong files where one hash is wanted, and a link to what was moved before.
func TestWrongFilesAreAllKept(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 10)
	a, b := source("a", data, serve(t, notFound).URL), source("b", data)
	w.write(a.Path, []byte("one"))
	w.write(b.Path, []byte("two"))
	w.run(a, b)
	w.wantFiles("fetch")
	one := filepath.Join(w.dir, ".sx/fetch", wrongOf([]byte("one")))
	if err := os.Link(one, filepath.Join(w.dir, a.Path)); err != nil {
		t.Fatal(err)
	}
	w.run(a)
	w.wantFiles("fetch")
	for _, text := range []string{"one", "two"} {
		if got := w.read(".sx/fetch/" + wrongOf([]byte(text))); string(got) != text {
			t.Errorf("kept %q, want %q", got, text)
		}
	}
}

// What cannot be moved is not thrown away instead.
func TestWrongFileThatCannotBeMoved(t *testing.T) {
	w := newWorld(t)
	s := source("a", noise(1, 10), serveFile(t, noise(1, 10)).URL)
	w.write(s.Path, []byte("wrong"))
	w.write(".sx/fetch/"+wrongOf([]byte("wrong"))+"/in/the/way", nil)
	_, err := w.run(s)
	wantReasons(t, err, `"fetch/core/x/a": wrong file: sha256 `, `moving the wrong "fetch/core/x/a" away: `)
	if got := w.read(s.Path); string(got) != "wrong" {
		t.Errorf("the file reads %q", got)
	}
}

func TestWhatIsNoFileIsRemoved(t *testing.T) {
	w := newWorld(t)
	s := source("a", noise(1, 10), serve(t, notFound).URL)
	w.write("fetch/core/x/other", nil)
	if err := syscall.Mkfifo(filepath.Join(w.dir, s.Path), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := w.run(s)
	wantReasons(t, err, `"fetch/core/x/a" was removed: not a regular file: p`, "404")
}

// Listing what is missing makes nothing, removes nothing, moves nothing.
func TestOfflineHasNoEffects(t *testing.T) {
	w := newWorld(t)
	w.opts.Offline = true
	data := noise(1, 1000)
	present, missing := source("present", data), source("missing", noise(2, 10))
	wrong, pipe := source("wrong", noise(3, 10)), source("pipe", noise(4, 10))
	// What is right under another name does not replace what is wrong here.
	aside := Source{Name: "core-x: aside", Path: "fetch/core/x/aside", Hash: present.Hash}
	w.write(present.Path, data)
	w.write(wrong.Path, []byte("wrong"))
	w.write(aside.Path, []byte("wrong too"))
	if err := syscall.Mkfifo(filepath.Join(w.dir, pipe.Path), 0o644); err != nil {
		t.Fatal(err)
	}
	all := []Source{present, missing, wrong, pipe, aside}
	rep, err := w.run(all...)
	var off *OfflineError
	if !errors.As(err, &off) || len(off.Missing) != 4 || len(rep.Present) != 1 {
		t.Errorf("Run: %v, report %+v", err, rep)
	}
	w.wantFiles(".", "fetch/core/x/aside", "fetch/core/x/pipe", "fetch/core/x/present", "fetch/core/x/wrong")
	if _, err := os.Stat(filepath.Join(w.dir, ".sx")); err == nil {
		t.Error("made a folder for partial files")
	}
	w.part(missing, []byte("half"))
	w.part(present, []byte("half"))
	w.write(".sx/fetch/"+wrong.Hash.String()+".meta", nil)
	w.run(all...)
	kept := []string{present.Hash.String() + ".part", missing.Hash.String() + ".part", wrong.Hash.String() + ".meta"}
	slices.Sort(kept)
	w.wantFiles(".sx/fetch", kept...)
}
