package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

// world is a tree and what Run does in it.
type world struct {
	t    *testing.T
	dir  string
	opts Options
	log  *recorder
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	log := &recorder{t: t}
	return &world{t: t, dir: dir, log: log, opts: Options{
		Tree:    dir,
		TempDir: filepath.Join(dir, ".sx", "fetch"),
		Backoff: func(int) time.Duration { return 0 },
		Status:  log,
		Log:     zaptest.NewLogger(t),
	}}
}

func (w *world) run(sources ...Source) (Report, error) {
	w.t.Helper()
	return Run(w.t.Context(), sources, w.opts)
}

// must runs and wants all sources there, whole, and nothing left behind.
func (w *world) must(sources ...Source) Report {
	w.t.Helper()
	rep, err := w.run(sources...)
	if err != nil {
		w.t.Fatalf("Run: %v", err)
	}
	w.wantWhole(sources...)
	return rep
}

func (w *world) wantWhole(sources ...Source) {
	w.t.Helper()
	for _, s := range sources {
		data := w.read(s.Path)
		if sha256.Sum256(data) != s.Hash {
			w.t.Errorf("%s: wrong bytes (%d)", s.Path, len(data))
		}
		if info, err := os.Stat(filepath.Join(w.dir, s.Path)); err != nil || info.Mode() != 0o644 {
			w.t.Errorf("%s: mode %v, %v, want 0644", s.Path, info.Mode(), err)
		}
	}
}

// wantFiles compares all that lies under a folder of the tree, links and
// folders left out, with the names given.
func (w *world) wantFiles(dir string, want ...string) {
	w.t.Helper()
	var got []string
	filepath.WalkDir(filepath.Join(w.dir, dir), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(filepath.Join(w.dir, dir), p)
			got = append(got, rel)
		}
		return nil
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("files in %s: %q, want %q", dir, got, want)
	}
}

func (w *world) read(path string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, path))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) write(path string, data []byte) string {
	w.t.Helper()
	abs := filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(abs, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return abs
}

// part writes what an interrupted run would have left of s.
func (w *world) part(s Source, data []byte) {
	w.t.Helper()
	w.write(".sx/fetch/"+s.Hash.String()+".part", data)
}

// source wants data from the given mirrors under fetch/core/x/<file>.
func source(file string, data []byte, mirrors ...string) Source {
	return Source{Name: "core-x: " + file, Path: "fetch/core/x/" + file, Hash: sha256.Sum256(data), Mirrors: mirrors}
}

// noise is n bytes that look like nothing, the same for the same seed.
func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	rng.Read(data)
	return data
}

// site is a server and what it was asked.
type site struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

// serve starts a server that does what f says.
func serve(t *testing.T, f http.HandlerFunc) *site {
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.got = append(s.got, r.Clone(context.Background()))
		s.mu.Unlock()
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// serveFile starts a server that gives data as a good server does: with ranges
// and an ETag.
func serveFile(t *testing.T, data []byte) *site {
	return serve(t, whole(data))
}

func whole(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(data))[:8]))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func (s *site) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *site) wantRequests(t *testing.T, n int) {
	t.Helper()
	if got := len(s.requests()); got != n {
		t.Errorf("%s had %d requests, want %d", s.URL, got, n)
	}
}

// hang is for handlers: it lasts until the client is gone.
func hang(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// cut ends the connection in the middle of an answer.
func cut() { panic(http.ErrAbortHandler) }

// reasons gives the failure of s as the attempts' texts.
func reasons(t *testing.T, err error) []string {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || len(e.Failures) != 1 {
		t.Fatalf("Run: %v, want an *Error with one failure", err)
	}
	var all []string
	for _, a := range e.Failures[0].Attempts {
		all = append(all, a.Reason.Error())
	}
	return all
}

func wantReasons(t *testing.T, err error, want ...string) {
	t.Helper()
	got := reasons(t, err)
	if len(got) != len(want) {
		t.Fatalf("reasons %q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("reason %q, want %q", got[i], want[i])
		}
	}
}

// recorder is a Status that writes down what it is told and checks the rules.
type recorder struct {
	t      *testing.T
	inside sync.Mutex // never waited for: calls are serialised
	lines  []string
	begun  int
	ended  int
}

var _ Status = (*recorder)(nil)

func (r *recorder) note(format string, args ...any) {
	if !r.inside.TryLock() {
		r.t.Error("Status calls overlap")
		return
	}
	defer r.inside.Unlock()
	if r.begun != r.ended+1 && !strings.HasPrefix(format, "end") {
		r.t.Errorf("%s outside of Begin and End", format)
	}
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Begin(n int) { r.begun++; r.note("begin %d", n) }
func (r *recorder) Start(s Source, mirror string, done, size int64) {
	r.note("start %s %d/%d", filepath.Base(s.Path), done, size)
}
func (r *recorder) Advance(s Source, done, size int64) {
	r.note("advance %s %d/%d", filepath.Base(s.Path), done, size)
}
func (r *recorder) Done(s Source, how string) { r.note("done %s %s", filepath.Base(s.Path), how) }
func (r *recorder) Fail(s Source, mirror string, err error) {
	if mirror == "" {
		r.note("fail %s", filepath.Base(s.Path))
		return
	}
	r.note("fail %s at mirror: %v", filepath.Base(s.Path), err)
}
func (r *recorder) Warn(text string) { r.note("warn %s", text) }
func (r *recorder) End()             { r.ended++; r.note("end") }

func (r *recorder) want(lines ...string) {
	r.t.Helper()
	if got, want := strings.Join(r.lines, "\n"), strings.Join(lines, "\n"); got != want {
		r.t.Errorf("status was told:\n%s\nwant:\n%s", got, want)
	}
}

// serveTLS starts an https server whose certificate w's transport knows.
func serveTLS(t *testing.T, w *world, f http.HandlerFunc) (url string) {
	s := httptest.NewUnstartedServer(f)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	w.opts.Transport = s.Client().Transport
	return s.URL
}
