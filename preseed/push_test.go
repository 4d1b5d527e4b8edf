package preseed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// contents are an image's, under an index as builds leave it.
func (i image) contents() []Content {
	var all []Content
	for _, d := range append(slices.Clone(i.layers), i.config) {
		all = append(all, inMemory("application/octet-stream", i.blobs[d]))
	}
	manifest := inMemory(oci.MediaTypeManifest, i.manifest)
	index := inMemory(oci.MediaTypeIndex, marshal(object{
		"schemaVersion": 2, "mediaType": oci.MediaTypeIndex,
		"manifests": []any{object{"mediaType": oci.MediaTypeManifest, "digest": manifest.Digest.String(), "size": manifest.Size,
			"platform": object{"os": "linux", "architecture": "amd64"}}},
	}))
	return append(all, manifest, index)
}

func newPusher(t testing.TB) *Pusher {
	t.Helper()
	c, err := NewClient(ClientOptions{Keychain: anonymous{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return NewPusher(c, PushOptions{})
}

// get reads from the registry without going through its handler's counting.
func (s *server) get(path string) (int, []byte) {
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("Accept", "*/*")
	w := httptest.NewRecorder()
	s.real.ServeHTTP(w, req)
	return w.Code, w.Body.Bytes()
}

func (s *server) wantPushed(t *testing.T, output string, contents []Content, tags ...string) {
	t.Helper()
	for i, c := range contents {
		paths := []string{"/v2/stagex/" + output + "/blobs/" + c.Digest.String()}
		if c.IsManifest() {
			paths = []string{"/v2/stagex/" + output + "/manifests/" + c.Digest.String()}
		}
		if i == len(contents)-1 {
			for _, tag := range tags {
				paths = append(paths, "/v2/stagex/"+output+"/manifests/"+tag)
			}
		}
		for _, path := range paths {
			if code, data := s.get(path); code != http.StatusOK || oci.DigestOf(data) != c.Digest {
				t.Errorf("%s: %d, %d bytes of %s, want %s", path, code, len(data), oci.DigestOf(data), c.Digest)
			}
		}
	}
}

// What arrives has the digests that it had, manifests come after what they name,
// and a second push asks one question for each tag.
func TestPush(t *testing.T) {
	s := newServer(t)
	img := newImage("core-a", noise(1, 100_000), noise(2, 1000))
	p := newPusher(t)
	name := s.registry().Repository("core-a")
	present, err := p.Push(t.Context(), name, img.contents(), []string{"1.0", "latest"})
	if err != nil || present {
		t.Fatalf("present %v, %v", present, err)
	}
	s.wantPushed(t, "core-a", img.contents(), "1.0", "latest")
	s.mu.Lock()
	first := slices.IndexFunc(s.seen, func(r string) bool { return strings.HasPrefix(r, "PUT /v2/stagex/core-a/manifests/") })
	if rest := s.seen[first:]; slices.ContainsFunc(rest, func(r string) bool { return strings.Contains(r, "/blobs/") }) {
		t.Errorf("blobs after manifests: %q", rest)
	}
	s.mu.Unlock()
	s.requests()

	sent := p.Sent()
	present, err = newPusher(t).Push(t.Context(), name, img.contents(), []string{"1.0", "latest"})
	if err != nil || !present {
		t.Errorf("again: present %v, %v", present, err)
	}
	if got := s.requests(); len(got) != 2 || p.Sent() != sent {
		t.Errorf("a push of what is there asked %q", got)
	}
}

// What a tag stands for is told, and a push that follows does not ask again.
func TestTagged(t *testing.T) {
	s := newServer(t)
	name := s.registry().Repository("core-a")
	p := newPusher(t)
	if d, err := p.Tagged(t.Context(), name, "1.0"); err != nil || !d.IsZero() {
		t.Errorf("of no tag: %s, %v", d, err)
	}
	contents := newImage("core-a", noise(1, 1000)).contents()
	if _, err := p.Push(t.Context(), name, contents, []string{"1.0"}); err != nil {
		t.Fatal(err)
	}
	s.requests()
	root := contents[len(contents)-1].Digest
	if d, err := p.Tagged(t.Context(), name, "1.0"); err != nil || d != root {
		t.Errorf("got %s, %v, want %s", d, err, root)
	}
	if present, err := p.Push(t.Context(), name, contents, []string{"1.0"}); err != nil || !present {
		t.Errorf("present %v, %v", present, err)
	}
	if got := s.requests(); len(got) != 1 {
		t.Errorf("it asked %q", got)
	}
	s.Close()
	if _, err := p.Tagged(t.Context(), name, "1.0"); !errors.As(err, new(*PushError)) {
		t.Errorf("of a registry that is gone: %v", err)
	}
}

// A blob that another repository of the registry has is not sent again.
func TestPushMounts(t *testing.T) {
	s := newServer(t)
	shared := noise(1, 100_000)
	p := newPusher(t)
	var wait sync.WaitGroup
	for _, output := range []string{"core-a", "core-b", "core-c"} {
		wait.Go(func() {
			img := newImage(output, shared, []byte(output))
			if _, err := p.Push(t.Context(), s.registry().Repository(output), img.contents(), []string{"1.0"}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if p.Sent() > 110_000 {
		t.Errorf("%d bytes were sent: the shared layer more than once", p.Sent())
	}
	for _, output := range []string{"core-a", "core-b", "core-c"} {
		s.wantPushed(t, output, newImage(output, shared, []byte(output)).contents(), "1.0")
	}
}

// A push that broke off is finished by the next, which sends what was lacking.
func TestPushResumes(t *testing.T) {
	s := newServer(t)
	img := newImage("core-a", noise(1, 50_000), noise(2, 50_000), noise(3, 50_000))
	name := s.registry().Repository("core-a")
	refused := img.layers[2].String()
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("digest") == refused {
			w.WriteHeader(http.StatusInsufficientStorage)
			return true
		}
		return false
	})
	_, err := newPusher(t).Push(t.Context(), name, img.contents(), []string{"1.0"})
	var push *PushError
	if !errors.As(err, &push) || push.Repository != name {
		t.Fatalf("got %v", err)
	}
	if code, _ := s.get("/v2/stagex/core-a/manifests/1.0"); code != http.StatusNotFound {
		t.Error("there is a manifest of what is not whole")
	}
	s.misbehave(nil)
	p := newPusher(t)
	if _, err := p.Push(t.Context(), name, img.contents(), []string{"1.0"}); err != nil {
		t.Fatal(err)
	}
	if p.Sent() > 110_000 {
		t.Errorf("%d bytes were sent again", p.Sent())
	}
	s.wantPushed(t, "core-a", img.contents(), "1.0")
}

// However often it is broken off, a push is finished in the end, and what the
// registry takes for an image is one at every moment.
func TestPushBrokenOff(t *testing.T) {
	s := newServer(t)
	img := newImage("core-a", noise(1, 30_000), noise(2, 30_000), noise(3, 30_000))
	name := s.registry().Repository("core-a")
	for after := 1; ; after++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("pulled the plug")
		var seen atomic.Int64
		s.misbehave(func(http.ResponseWriter, *http.Request) bool {
			if int(seen.Add(1)) >= after {
				cancel(stop)
			}
			return false
		})
		_, err := newPusher(t).Push(ctx, name, img.contents(), []string{"1.0"})
		cancel(nil)
		s.misbehave(nil)
		if err == nil {
			break
		}
		if !errors.Is(err, stop) {
			t.Fatalf("after %d requests: %v", after, err)
		}
		if code, _ := s.get("/v2/stagex/core-a/manifests/1.0"); code == http.StatusOK {
			s.wantPushed(t, "core-a", img.contents(), "1.0")
		}
		if after > 100 {
			t.Fatal("it never ends")
		}
	}
	s.wantPushed(t, "core-a", img.contents(), "1.0")
}

// What cannot be read is not the registry's fault, and leaves no manifest.
func TestPushDamaged(t *testing.T) {
	s := newServer(t)
	img := newImage("core-a", noise(1, 50_000))
	contents := img.contents()
	broken := errors.New("blob is not the bytes of its digest")
	contents[0].Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(noise(1, 30_000)), failing{broken})), nil
	}
	_, err := newPusher(t).Push(t.Context(), s.registry().Repository("core-a"), contents, []string{"1.0"})
	var push *PushError
	if !errors.Is(err, broken) || errors.As(err, &push) {
		t.Errorf("got %v", err)
	}
	if code, _ := s.get("/v2/stagex/core-a/manifests/1.0"); code != http.StatusNotFound {
		t.Error("there is a manifest")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestPushRefused(t *testing.T) {
	s := newServer(t)
	img := newImage("core-a", noise(1, 1000))
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := newPusher(t).Push(t.Context(), s.registry().Repository("core-a"), img.contents(), []string{"1.0"})
	wantError(t, err, "docker login "+s.host())
	wantError(t, err, "pushing to "+s.host()+"/stagex/core-a")
}

// A registry that is busy is tried again, when it says, and one that was never
// there is not.
func TestPushAgain(t *testing.T) {
	s := newServer(t)
	img := newImage("core-a", noise(1, 30_000))
	var left atomic.Int64
	code, after := http.StatusServiceUnavailable, ""
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || left.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", after)
		w.WriteHeader(code)
		return true
	})
	var waits []string
	again := func(repository string) error {
		c, err := NewClient(ClientOptions{Keychain: anonymous{}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waits = nil
		p := NewPusher(c, PushOptions{Retries: 3, Backoff: func(int) time.Duration { return 0 }, Warn: func(text string) { waits = append(waits, text) }})
		_, err = p.Push(t.Context(), repository, img.contents(), []string{"1.0"})
		return err
	}
	left.Store(3)
	if err := again(s.registry().Repository("core-a")); err != nil || len(waits) == 0 {
		t.Errorf("waits %q, then %v", waits, err)
	}
	s.wantPushed(t, "core-a", img.contents(), "1.0")

	left.Store(100)
	if err := again(s.registry().Repository("core-b")); err == nil || len(waits) != 3 {
		t.Errorf("waits %q, then %v", waits, err)
	}
	left.Store(100)
	code, after = http.StatusTooManyRequests, "7200"
	err := again(s.registry().Repository("core-c"))
	if len(waits) != 0 {
		t.Errorf("waits %q", waits)
	}
	wantError(t, err, "asks to wait for 2h0m0s")
	left.Store(100)
	code = http.StatusForbidden
	if err := again(s.registry().Repository("core-d")); err == nil || len(waits) != 0 {
		t.Errorf("waits %q, then %v", waits, err)
	}
	if err := again("127.0.0.1:1/stagex/core-a"); err == nil || len(waits) != 0 {
		t.Errorf("waits %q, then %v", waits, err)
	}
}

// An upload may take longer than an answer, as long as it moves.
func TestUploadSlowly(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	upload := func(wait time.Duration) error {
		c, err := NewClient(ClientOptions{Limits: transfer.Limits{Header: 400 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		repo, err := name.NewRepository(s.Listener.Addr().String() + "/stagex/core-a")
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, &slowReader{bytes.NewReader(noise(1, 40_000)), wait})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.host(repo.Registry).transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := upload(60 * time.Millisecond); err != nil {
		t.Error(err)
	}
	wantError(t, upload(900*time.Millisecond), "no answer for 400ms")
}

type slowReader struct {
	r    io.Reader
	wait time.Duration
}

func (s *slowReader) Read(p []byte) (int, error) {
	time.Sleep(s.wait)
	return s.r.Read(p[:min(len(p), 5000)])
}
