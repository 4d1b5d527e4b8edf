package preseed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"go.uber.org/zap/zaptest"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// server is go-containerregistry's registry behind a handler that may misbehave.
type server struct {
	*httptest.Server
	t    testing.TB
	real http.Handler

	mu     sync.Mutex
	seen   []string // "GET /v2/…", but the pings
	misuse func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t testing.TB) *server {
	s := unstarted(t)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func newTLSServer(t testing.TB) *server {
	s := unstarted(t)
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func unstarted(t testing.TB) *server {
	return &server{t: t, real: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	misuse := s.misuse
	if r.URL.Path != "/v2/" {
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	}
	s.mu.Unlock()
	if misuse != nil && misuse(w, r) {
		return
	}
	s.real.ServeHTTP(w, wholeManifest(r))
}

// wholeManifest reads a manifest before the registry does, which keeps what it got of one
// that was cut off; no real registry does.
func wholeManifest(r *http.Request) *http.Request {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
		return r
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

// misbehave lets f answer what it returns true for.
func (s *server) misbehave(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.misuse = f
}

// requests returns what was asked since the last call, sorted.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	slices.Sort(seen)
	return seen
}

func (s *server) host() string { return s.Listener.Addr().String() }

func (s *server) registry() Registry { return Registry{s.host(), "stagex"} }

// image is a published image in memory.
type image struct {
	output   string
	manifest []byte
	blobs    map[oci.Digest][]byte
	layers   []oci.Digest
	config   oci.Digest
}

func (i image) digest() oci.Digest { return oci.DigestOf(i.manifest) }

func (i image) wanted() Image {
	return Image{Output: i.output, Digest: i.digest(), Platform: "linux/amd64"}
}

// publish makes an image of layers as a build leaves it, and puts it into the
// registry.
func (s *server) publish(output string, layers ...[]byte) image {
	img := newImage(output, layers...)
	s.put(img)
	return img
}

func (s *server) put(img image) {
	s.t.Helper()
	for d, data := range img.blobs {
		s.do(http.MethodPost, "/v2/stagex/"+img.output+"/blobs/uploads/?digest="+d.String(), "", data)
	}
	s.do(http.MethodPut, "/v2/stagex/"+img.output+"/manifests/"+img.digest().String(), oci.MediaTypeManifest, img.manifest)
	s.requests()
}

func (s *server) do(method, path, contentType string, data []byte) {
	s.t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(data))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.real.ServeHTTP(w, req)
	if w.Code >= 300 {
		s.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

type object = map[string]any

func newImage(output string, layers ...[]byte) image {
	return makeImage(output, nil, layers...)
}

// makeImage lets change spoil the manifest.
func makeImage(output string, change func(manifest, config object), layers ...[]byte) image {
	img := image{output: output, blobs: map[oci.Digest][]byte{}}
	var diffs []string
	list := []any{}
	for _, l := range layers {
		d := oci.DigestOf(l)
		img.blobs[d] = l
		img.layers = append(img.layers, d)
		diffs = append(diffs, d.String()) // of what is not packed; nobody looks
		list = append(list, object{"mediaType": oci.MediaTypeLayer, "digest": d.String(), "size": len(l)})
	}
	config := object{"architecture": "amd64", "os": "linux", "rootfs": object{"type": "layers", "diff_ids": diffs}, "author": output}
	manifest := object{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "layers": list,
		"annotations": object{"org.opencontainers.image.version": "1.0"},
	}
	pack := func() {
		data := marshal(config)
		img.config = oci.DigestOf(data)
		img.blobs[img.config] = data
		manifest["config"] = object{"mediaType": oci.MediaTypeConfig, "digest": img.config.String(), "size": len(data)}
	}
	pack()
	if change != nil {
		was := string(marshal(config))
		kept := manifest["config"]
		change(manifest, config)
		if string(marshal(config)) != was {
			pack()
		} else if manifest["config"] == nil {
			manifest["config"] = kept
		}
	}
	img.manifest = marshal(manifest)
	return img
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// noise is bytes that are equal for equal seeds.
func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	src := rand.NewPCG(seed, 1)
	for i := range data {
		data[i] = byte(src.Uint64())
	}
	return data
}

func newTree(t testing.TB) (string, *cache.Store) {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	return tree, openStore(t, tree)
}

func openStore(t testing.TB, tree string) *cache.Store {
	t.Helper()
	s, err := cache.Open(tree, cache.Options{KeyFile: tree + ".key", Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// options have no patience: nothing sleeps.
func options(t testing.TB, store *cache.Store, servers ...*server) Options {
	o := Options{
		Store: store, Backoff: func(int) time.Duration { return 0 }, Log: zaptest.NewLogger(t),
		Client: ClientOptions{Keychain: anonymous{}},
	}
	for _, s := range servers {
		o.Registries = append(o.Registries, s.registry())
	}
	return o
}

type anonymous struct{}

func (anonymous) Find(context.Context, string, string) Credentials { return Credentials{} }

func wantError(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v\nwant one with %q", err, text)
	}
}

// nothingKept fails where out/ or the shared blobs hold anything but allowed.
func nothingKept(t testing.TB, tree string, allowed ...oci.Digest) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(tree, "out", "*"))
	blobs, _ := filepath.Glob(filepath.Join(tree, ".sx", "blobs", "*", "*"))
	for _, b := range blobs {
		if !slices.ContainsFunc(allowed, func(d oci.Digest) bool { return filepath.Base(b) == d.Hex() }) {
			left = append(left, b)
		}
	}
	if len(left) > 0 {
		t.Errorf("kept %q", left)
	}
}

// tell writes what a run told, a line each.
type tell struct {
	transfer.Silent[string]
	mu    sync.Mutex
	lines []string
}

func (l *tell) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *tell) Warn(text string)                   { l.add("warn %s", text) }
func (l *tell) Done(output, how string)            { l.add("done %s %s", output, how) }
func (l *tell) Fail(output, reg string, err error) { l.add("fail %s %s: %v", output, reg, err) }

func itoa(n int) string { return fmt.Sprint(n) }

type misuse = func(w http.ResponseWriter, r *http.Request) bool

// on is misuse of requests whose path holds text.
func on(text string, f misuse) misuse {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, text) && f(w, r)
	}
}

func status(code int) misuse {
	return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
}

func answer(data []byte) misuse {
	return func(w http.ResponseWriter, _ *http.Request) bool { w.Write(data); return true }
}

// files lists what lies in a folder: path, mode and content.
func files(t testing.TB, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(folder, path)
		all[rel] = info.Mode().String()
		if e.Type().IsRegular() {
			data, err := os.ReadFile(path)
			all[rel] += " " + oci.DigestOf(data).String()
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func diff(want, got map[string]string) string { return cmp.Diff(want, got) }

func unmarshal(data []byte, into any) error { return json.Unmarshal(data, into) }

// spoil changes a byte of a file in place.
func spoil(t testing.TB, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, data, 0o644), os.Chmod(path, 0o444)); err != nil {
		t.Fatal(err)
	}
}

// counter counts bytes that were sent.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// slowly sends 64 KiB at a time, with a pause.
type slowly struct {
	http.ResponseWriter
	sent *counter
}

func (s *slowly) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		part := p[:min(len(p), 64<<10)]
		n, err := s.ResponseWriter.Write(part)
		if total += n; err != nil {
			return total, err
		}
		s.ResponseWriter.(http.Flusher).Flush()
		s.sent.mu.Lock()
		s.sent.n += n
		s.sent.mu.Unlock()
		p = p[n:]
		time.Sleep(10 * time.Millisecond)
	}
	return total, nil
}
