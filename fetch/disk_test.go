package fetch

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// endless sends for as long as somebody listens.
func endless(w http.ResponseWriter, r *http.Request) {
	for buf := make([]byte, 64<<10); ; {
		if _, err := w.Write(buf); err != nil {
			return
		}
	}
}

func TestMaxFile(t *testing.T) {
	data := noise(1, 1000)
	for name, big := range map[string]http.HandlerFunc{
		"endless": endless,
		"says so": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000000000")
			endless(w, r)
		},
		"in ranges": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", "900000")
				w.Write(make([]byte, 500_000))
				http.NewResponseController(w).Flush()
				cut()
			}
			w.Header().Set("Content-Range", "bytes 500000-999999/*")
			w.WriteHeader(206)
			endless(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opts.MaxFile = 1 << 20
			bad := serve(t, big)
			rep := w.must(source("a", data, bad.URL, serveFile(t, data).URL))
			if rep.Bytes > 2<<20 {
				t.Errorf("%d bytes from the network", rep.Bytes)
			}
			_, err := newWorld(t).runWith(w.opts, source("b", noise(2, 10), bad.URL))
			wantReasons(t, err, "above the limit of 1048576")
			var size *transfer.SizeError
			if !errors.As(err, &size) || size.What != "file" {
				t.Errorf("error %v is no *transfer.SizeError", err)
			}
			w.wantFiles(".", "fetch/core/x/a")
		})
	}
}

func (w *world) runWith(opts Options, sources ...Source) (Report, error) {
	w.t.Helper()
	opts.Status = w.log
	return Run(w.t.Context(), sources, opts)
}

// A file of just the limit is fine.
func TestMaxFileExactly(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1<<20)
	w.opts.MaxFile = 1 << 20
	w.must(source("a", data, serveFile(t, data).URL))
}

func TestOldPartsMakeRoom(t *testing.T) {
	w := newWorld(t)
	w.opts.MaxPartial = 2000
	var parts []string
	for i := range 4 {
		s := source("old", noise(uint64(10+i), 1000))
		w.part(s, make([]byte, 400))
		abs := filepath.Join(w.dir, ".sx/fetch", s.Hash.String()+".part")
		os.Chtimes(abs, time.Time{}, time.Unix(int64(1000-i), 0)) // the last is the oldest
		w.write(".sx/fetch/"+s.Hash.String()+".meta", []byte("{}"))
		parts = append(parts, s.Hash.String())
	}
	// The oldest of all is being written by another.
	held, err := os.Open(filepath.Join(w.dir, ".sx/fetch", parts[3]+".part"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	unix.Flock(int(held.Fd()), unix.LOCK_EX)
	data := noise(1, 1000)
	w.must(source("a", data, serveFile(t, data).URL))
	for i, want := range []bool{true, false, false, true} {
		for _, suffix := range []string{".part", ".meta"} {
			_, err := os.Stat(filepath.Join(w.dir, ".sx/fetch", parts[i]+suffix))
			if (err == nil) != want {
				t.Errorf("%d%s: %v, want it there: %v", i, suffix, err, want)
			}
		}
	}
}

func TestMaxPartial(t *testing.T) {
	w := newWorld(t)
	w.opts.MaxPartial = 100_000
	data := noise(1, 1000)
	big := serve(t, endless)
	_, err := w.run(source("big", noise(2, 10), big.URL, big.URL+"/b"))
	wantReasons(t, err, "partial files of ")
	big.wantRequests(t, 1) // another mirror cannot help
	w.must(source("a", data, serveFile(t, data).URL))
}

// What was moved away counts in later runs, and is the first to go; the run that
// moved it does not lose what it speaks of.
func TestWrongFilesCount(t *testing.T) {
	w := newWorld(t)
	w.opts.MaxPartial = 1500
	data := noise(1, 1000)
	a, b := source("a", data, serveFile(t, data).URL), source("b", noise(2, 10), serve(t, notFound).URL)
	w.write(b.Path, make([]byte, 1000))
	_, err := w.run(b)
	wantReasons(t, err, "was moved to", "404")
	w.wantFiles(".sx/fetch", wrongOf(make([]byte, 1000)))
	w.must(a)
	w.wantFiles(".sx/fetch")
	w.write(b.Path, make([]byte, 2000)) // above the limit, as nobody's download is
	c := source("c", noise(3, 1400), serveFile(t, noise(3, 1400)).URL)
	_, err = w.run(b, c)
	wantReasons(t, err, "was moved to", "404")
	w.wantFiles(".", ".sx/fetch/"+wrongOf(make([]byte, 2000)), "fetch/core/x/a", "fetch/core/x/c")
}
