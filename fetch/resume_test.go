package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

func TestResume(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1<<20)
	site := serveFile(t, data)
	s := source("a", data, site.URL)
	w.part(s, data[:700_000])
	rep := w.must(s)
	if want := int64(len(data) - 700_000); rep.Bytes != want {
		t.Errorf("%d bytes from the network, want %d", rep.Bytes, want)
	}
	if got := site.requests()[0].Header.Get("Range"); got != "bytes=700000-" {
		t.Errorf("Range %q", got)
	}
	w.log.want("begin 1", "start a 700000/1048576", "advance a 1048576/1048576", "done a fetched", "end")
	w.wantFiles(".sx")
}

// A connection that breaks is taken up where it broke, as often as it brings
// the file forward.
func TestResumeAfterBreaks(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 30<<20)
	n := 0
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n++
		whole(data)(&breaking{w, 2 << 20}, r)
	})
	rep := w.must(source("a", data, site.URL))
	if rep.Bytes != int64(len(data)) {
		t.Errorf("%d bytes from the network, want %d", rep.Bytes, len(data))
	}
	if n < 10 {
		t.Errorf("%d requests, want one for each break", n)
	}
	for _, r := range site.requests()[1:] {
		if r.Header.Get("If-Range") == "" {
			t.Error("resumed without If-Range")
		}
	}
}

// breaking cuts the connection after so many bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	n, _ := b.ResponseWriter.Write(p[:min(len(p), b.left)])
	if b.left -= n; b.left == 0 {
		b.ResponseWriter.(http.Flusher).Flush()
		cut()
	}
	return n, nil
}

// One that breaks at the same place each time is not asked for ever, though
// without ranges each try brings as many bytes.
func TestNoProgressEnds(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 5<<20)
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		whole(data)(&breaking{w, 3 << 20}, r)
	})
	_, err := w.run(source("a", data, site.URL))
	wantReasons(t, err, "unexpected EOF")
	site.wantRequests(t, 5) // the first brought it forward, four did not
}

func TestResumeElsewhere(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1<<20)
	first := serve(t, func(w http.ResponseWriter, r *http.Request) { whole(data)(&breaking{w, 600_000}, r) })
	second := serveFile(t, data)
	rep := w.must(source("a", data, first.URL, second.URL))
	if rep.Bytes != int64(len(data)) {
		t.Errorf("%d bytes from the network, want %d", rep.Bytes, len(data))
	}
	got := second.requests()[0]
	if got.Header.Get("Range") != "bytes=600000-" || got.Header.Get("If-Range") != "" {
		t.Errorf("second mirror was sent %v", got.Header)
	}
}

// The partial file is of another file: the hash finds out, and the same mirror
// is asked once more, from zero.
func TestResumeOfAnotherFile(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	site := serveFile(t, data)
	s := source("a", data, site.URL)
	w.part(s, noise(2, 500))
	if rep := w.must(s); rep.Bytes != 1500 {
		t.Errorf("%d bytes from the network, want 1500", rep.Bytes)
	}
	site.wantRequests(t, 2)
}

// One mirror began with wrong bytes, another goes on with right ones, and is
// not blamed for that.
func TestPoisonedPart(t *testing.T) {
	w := newWorld(t)
	data, wrong := noise(1, 1<<20), noise(2, 1<<20)
	bad := serve(t, func(w http.ResponseWriter, r *http.Request) { whole(wrong)(&breaking{w, 600_000}, r) })
	good := serveFile(t, data)
	w.must(source("a", data, bad.URL, good.URL))
	good.wantRequests(t, 2)
}

func TestResumeIfUnchanged(t *testing.T) {
	w := newWorld(t)
	old, data := noise(2, 1000), noise(1, 1000)
	n := 0
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			whole(old)(&breaking{w, 500}, r)
		}
		whole(data)(w, r) // with another ETag: answers 200
	})
	if rep := w.must(source("a", data, site.URL)); rep.Bytes != 1500 {
		t.Errorf("%d bytes from the network, want 1500", rep.Bytes)
	}
	site.wantRequests(t, 2)
}

func TestServersWithoutRanges(t *testing.T) {
	data := noise(1, 1000)
	for _, c := range []struct {
		name     string
		server   http.HandlerFunc
		part     []byte
		bytes    int64
		requests int
	}{
		{"ignores it", func(w http.ResponseWriter, r *http.Request) { w.Write(data) }, data[:500], 1000, 1},
		{"another range", ranged(data, "bytes 400-999/1000", 400), data[:500], 1000, 2},
		{"no Content-Range", ranged(data, "", 500), data[:500], 1000, 2},
		{"beyond the end", ranged(data, "bytes 500-1000/1000", 500), data[:500], 1000, 2},
		{"backwards", ranged(data, "bytes 500-499/1000", 500), data[:500], 1000, 2},
		{"not numbers", ranged(data, "bytes 500-x/1000", 500), data[:500], 1000, 2},
		{"another unit", ranged(data, "lines 500-999/1000", 500), data[:500], 1000, 2},
		{"unknown size", ranged(data, "bytes 500-999/*", 500), data[:500], 500, 1},
		{"part too long", whole(data), append(data[:1000:1000], 1), 1000, 2},
		{"part as long but wrong", whole(data), noise(2, 1000), 1000, 2},
		{"part complete", whole(data), data, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			site := serve(t, c.server)
			s := source("a", data, site.URL)
			w.part(s, c.part)
			if rep := w.must(s); rep.Bytes != c.bytes {
				t.Errorf("%d bytes from the network, want %d", rep.Bytes, c.bytes)
			}
			site.wantRequests(t, c.requests)
		})
	}
}

// ranged answers a Range with 206 and the header given, whatever was asked.
func ranged(data []byte, header string, offset int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w.Write(data)
			return
		}
		if header != "" {
			w.Header().Set("Content-Range", header)
		}
		w.WriteHeader(206)
		w.Write(data[offset:])
	}
}

// A server may give less than the range asked for.
func TestShortRanges(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1000)
	site := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		to := min(from+300, len(data))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(data)))
			w.WriteHeader(206)
			w.Write(data[from:to])
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:to])
		http.NewResponseController(w).Flush()
		cut()
	})
	w.must(source("a", data, site.URL))
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1<<20)
	stop := errors.New("had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	half := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Length", "1048576")
		rw.Write(data[:1<<19])
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	w.opts.Status = &onAdvance{Status: w.log, f: func() { cancel(stop) }}
	s, other := source("a", data, half.URL), source("b", noise(2, 10), half.URL)
	w.opts.Jobs, w.opts.Limits.MinRate = 1, -1
	var clock atomic.Int64 // so fast that no Advance is held back
	w.opts.Limits.Now = func() time.Time { return time.Unix(clock.Add(1), 0) }
	if _, err := Run(ctx, []Source{s, other}, w.opts); err != stop {
		t.Fatalf("Run: %v, want the cause", err)
	}
	half.wantRequests(t, 1)
	w.wantFiles("fetch")
	info, err := os.Stat(filepath.Join(w.dir, ".sx/fetch", s.Hash.String()+".part"))
	if err != nil || info.Size() == 0 {
		t.Fatalf("partial file: %v, %v", info, err)
	}
	w.opts.Status = w.log
	s.Mirrors = []string{serveFile(t, data).URL}
	if rep := w.must(s); rep.Bytes != int64(len(data))-info.Size() {
		t.Errorf("%d bytes from the network after %d", rep.Bytes, info.Size())
	}
}

// onAdvance calls f when the first bytes are there.
type onAdvance struct {
	Status
	f func()
}

func (o *onAdvance) Advance(s Source, done, size int64) {
	o.Status.Advance(s, done, size)
	o.f()
}
