package fetch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// store is a First whose client has the sources of a map, by path.
func store(files map[string][]byte, asked *[]string) *First {
	return &First{Prefix: "oci://registry.example/sources@sha256:", Client: roundTrip(func(r *http.Request) (*http.Response, error) {
		*asked = append(*asked, r.URL.String()+" "+r.Header.Get("Range"))
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/sources@sha256:")]
		resp := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Request: r, Body: http.NoBody}
		if !ok {
			return resp, nil
		}
		var from int
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 {
			resp.StatusCode = http.StatusPartialContent
			resp.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		} else {
			resp.StatusCode = http.StatusOK
		}
		resp.ContentLength = int64(len(data) - from)
		resp.Body = io.NopCloser(strings.NewReader(string(data[from:])))
		return resp, nil
	})}
}

// What First has is had from there, and a mirror is asked for the rest.
func TestFirstIsAskedFirst(t *testing.T) {
	w := newWorld(t)
	there, elsewhere := noise(1, 1000), noise(2, 1000)
	a := source("a", there, "http://127.0.0.1:1/never")
	b := source("b", elsewhere, serveFile(t, elsewhere).URL)
	var asked []string
	w.opts.Jobs = 1
	w.opts.First = store(map[string][]byte{a.Hash.String(): there}, &asked)
	w.must(a, b)
	want := []string{"oci://registry.example/sources@sha256:" + a.Hash.String() + " ", "oci://registry.example/sources@sha256:" + b.Hash.String() + " "}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestFirstResumes(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	s := source("a", data)
	w.part(s, data[:400])
	var asked []string
	w.opts.First = store(map[string][]byte{s.Hash.String(): data}, &asked)
	if rep := w.must(s); rep.Bytes != 600 {
		t.Errorf("%d bytes came, want 600; asked for %q", rep.Bytes, asked)
	}
}

// A registry is believed no more than any mirror.
func TestFirstLies(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	s := source("a", data)
	var asked []string
	w.opts.First = store(map[string][]byte{s.Hash.String(): noise(2, 1000)}, &asked)
	_, err := w.run(s)
	var sum *transfer.HashError
	if !errors.As(err, &sum) {
		t.Errorf("got %v", err)
	}
	w.wantFiles("fetch")
}

// No definition reaches First's client, by a mirror or by a redirect.
func TestFirstIsNotForDefinitions(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	var asked []string
	w.opts.First = store(nil, &asked)
	redirect := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", "oci://registry.example/secret@sha256:00")
		rw.WriteHeader(http.StatusFound)
	})
	if _, err := w.run(source("a", data, "oci://registry.example/secret@sha256:00", redirect.URL)); err == nil {
		t.Error("no error")
	}
	for _, a := range asked {
		if strings.Contains(a, "secret") {
			t.Errorf("asked for %s", a)
		}
	}
}

// What will not be better is not tried again.
func TestFirstGivesUp(t *testing.T) {
	w := newWorld(t)
	tries := 0
	w.opts.First = &First{Prefix: "oci://r/s@sha256:", Client: roundTrip(func(*http.Request) (*http.Response, error) {
		tries++
		return nil, &transfer.AnswerError{Reason: "access denied"}
	})}
	_, err := w.run(source("a", noise(1, 10)))
	if err == nil || !strings.Contains(err.Error(), "access denied") || tries != 1 {
		t.Errorf("%d tries: %v", tries, err)
	}
}
