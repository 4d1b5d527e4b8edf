package fetch

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// zipped is a .gz file with content of its own for each seed.
func zipped(seed uint64) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(noise(seed, 1000))
	w.Close()
	return b.Bytes()
}

// unhashed wants a file whose hash is not known.
func unhashed(file string, mirrors ...string) Source {
	return Source{Name: "core/x: " + file, Path: "fetch/core/x/" + file, Mirrors: mirrors}
}

func (w *world) learn(keep bool, sources ...Source) ([]Learnt, error) {
	w.t.Helper()
	return Learn(w.t.Context(), sources, keep, w.opts)
}

// The file of a mirror is kept under its name, whatever was there, and all mirrors are
// asked.
func TestLearn(t *testing.T) {
	w := newWorld(t)
	data := zipped(1)
	a, b := serveFile(t, data), serveFile(t, data)
	gone := serve(t, http.NotFound)
	w.write("fetch/core/x/x.tar.gz", []byte("the old one"))
	got, err := w.learn(true, unhashed("x.tar.gz", gone.URL, a.URL+"/x", b.URL+"/x"))
	if err != nil {
		t.Fatal(err)
	}
	l := got[0]
	if l.Hash != sha256.Sum256(data) || l.Size != int64(len(data)) || len(l.From) != 2 || len(l.Failed) != 1 || !l.Plain {
		t.Errorf("%+v", l)
	}
	w.wantWhole(l.Source)
	w.wantFiles(".", "fetch/core/x/x.tar.gz")
	for _, s := range []*site{a, b, gone} {
		s.wantRequests(t, 1)
	}
	w.log.want("begin 1", "fail x.tar.gz at mirror: HTTP status 404 Not Found",
		"start x.tar.gz 0/"+strconv.Itoa(len(data)), "advance x.tar.gz "+strconv.Itoa(len(data))+"/"+strconv.Itoa(len(data)),
		"start x.tar.gz 0/"+strconv.Itoa(len(data)), "advance x.tar.gz "+strconv.Itoa(len(data))+"/"+strconv.Itoa(len(data)),
		"done x.tar.gz fetched", "end")
}

// Without keep nothing is written at all.
func TestLearnKeepsNothing(t *testing.T) {
	w := newWorld(t)
	data := zipped(1)
	w.write("fetch/core/x/x.tar.gz", []byte("the old one"))
	got, err := w.learn(false, unhashed("x.tar.gz", serveFile(t, data).URL))
	if err != nil || got[0].Hash != sha256.Sum256(data) {
		t.Errorf("%+v, %v", got, err)
	}
	w.wantFiles(".", "fetch/core/x/x.tar.gz")
	if got := w.read("fetch/core/x/x.tar.gz"); string(got) != "the old one" {
		t.Errorf("it was replaced by %q", got)
	}
}

// What cannot be the file is refused, and then nothing of the others is kept either.
func TestLearnRefuses(t *testing.T) {
	data := zipped(1)
	page := func(kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if kind != "" {
				w.Header().Set("Content-Type", kind)
			}
			w.Write([]byte("<!DOCTYPE html><title>Not here</title>"))
		}
	}
	for name, c := range map[string]struct {
		file   string
		answer http.HandlerFunc
		want   string
	}{
		"a web page for an archive":             {"x.tar.gz", page("text/html"), "not gzip: they begin with \"<!DOCTYPE html>"},
		"a web page that says it is an archive": {"x.tar.xz", page("application/gzip"), "38 bytes that are not xz"},
		"a web page for a patch":                {"x.patch", page("text/html; charset=utf-8"), "sent a web page of 38 bytes"},
		"a web page for a file of no kind":      {"x", page("application/octet-stream"), "sent a web page of 38 bytes"},
		"nothing":                               {"x.txt", func(http.ResponseWriter, *http.Request) {}, "an empty file"},
		"too much":                              {"x.tar.gz", whole(noise(1, 1<<20+1)), "above the limit"},
		"a file that breaks off": {"x.tar.gz", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			w.Write(data)
			http.NewResponseController(w).Flush()
			cut()
		}, "breaks off after"},
		"other bytes each time, ended by the connection": {"x.txt", nameless(), "the connection was closed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opts.MaxFile, w.opts.Retries = 1<<20, 2
			_, err := w.learn(true, unhashed("good.tar.gz", serveFile(t, data).URL), unhashed(c.file, serve(t, c.answer).URL))
			wantReasons(t, err, c.want)
			w.wantFiles("fetch")
			w.wantFiles(".sx")
		})
	}
}

// nameless answers as HTTP/1.0 does, without saying how long the file is.
func nameless() http.HandlerFunc {
	n := byte(0)
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		n++
		conn.Write([]byte("HTTP/1.0 200 OK\r\n\r\nsome bytes " + string([]byte{'0' + n})))
	}
}

// Mirrors that differ are named with what each sent.
func TestLearnDifferent(t *testing.T) {
	w := newWorld(t)
	a, b := zipped(1), zipped(2)
	_, err := w.learn(true, unhashed("x.tar.gz", serveFile(t, a).URL, serveFile(t, b).URL))
	wantReasons(t, err, "another file than other mirrors", "another file than other mirrors")
	w.wantFiles(".")
}

// Two sources of one file are one download.
func TestLearnOnePath(t *testing.T) {
	w := newWorld(t)
	data := zipped(1)
	a, b := serveFile(t, data), serveFile(t, data)
	got, err := w.learn(true, unhashed("x.gz", a.URL), unhashed("x.gz", a.URL, b.URL))
	if err != nil || len(got) != 2 || got[0].Hash != got[1].Hash || len(got[1].From) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	a.wantRequests(t, 1)
	b.wantRequests(t, 1)
}

// From https no redirect leads to http: anyone on the way could choose the hash.
func TestLearnRedirect(t *testing.T) {
	w := newWorld(t)
	plain := serveFile(t, zipped(1))
	secure := serveTLS(t, w, http.RedirectHandler(plain.URL, http.StatusFound).ServeHTTP)
	_, err := w.learn(true, unhashed("x.gz", secure))
	wantReasons(t, err, "redirect refused: from https to http")
	plain.wantRequests(t, 0)
}

// What a killed run left of the file is no part of it, and a failing disk ends the run.
func TestLearnAgain(t *testing.T) {
	w := newWorld(t)
	data := zipped(1)
	s := unhashed("x.gz", serveFile(t, data).URL)
	left := s
	left.Hash = sha256.Sum256([]byte("learn " + s.Path))
	w.part(left, []byte("left over"))
	got, err := w.learn(true, s)
	if err != nil {
		t.Fatal(err)
	}
	w.wantWhole(got[0].Source)
	w.wantFiles(".sx")

	w.write("fetch/core/y", nil) // no folder
	_, err = w.learn(true, Source{Name: "y", Path: "fetch/core/y/x.gz", Mirrors: s.Mirrors})
	var failed *Error
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "fetch/core/y") {
		t.Errorf("%v", err)
	}
	if _, err := w.learn(true, Source{Name: "z", Path: "packages/x", Mirrors: s.Mirrors}); err == nil {
		t.Error("a path outside fetch/ was accepted")
	}
}
