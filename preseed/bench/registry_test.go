package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// server is go-containerregistry's registry with a set of images in it. It counts
// the bytes that it sends.
type server struct {
	host     string
	sent     atomic.Int64
	requests atomic.Int64
}

func serve(t testing.TB, s *set) *server {
	t.Helper()
	r := &server{}
	h := registry.New(registry.WithBlobHandler(blobs(s.folder)), registry.Logger(log.New(io.Discard, "", 0)))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.requests.Add(1)
		h.ServeHTTP(&counting{w, &r.sent}, req)
	}))
	t.Cleanup(web.Close)
	r.host = strings.TrimPrefix(web.URL, "http://")
	for _, i := range s.images {
		url := fmt.Sprintf("%s/v2/stagex/%s/manifests/1.0", web.URL, i.output)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(i.manifest))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("putting the manifest of %s: %s", i.output, resp.Status)
		}
	}
	return r
}

func (r *server) reset() { r.sent.Store(0); r.requests.Store(0) }

type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// ReadFrom keeps the way of sendfile, which a server of files takes.
func (c *counting) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
	c.sent.Add(n)
	return n, err
}

// blobs serves a folder. The library's own handler hashes a file for every
// request, which no registry does.
type blobs string

func (b blobs) path(h v1.Hash) string { return filepath.Join(string(b), h.Algorithm, h.Hex) }

func (b blobs) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(b.path(h))
	return f, unknown(err)
}

func (b blobs) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	info, err := os.Stat(b.path(h))
	if err != nil {
		return 0, unknown(err)
	}
	return info.Size(), nil
}

func unknown(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return registry.ErrNotFound
	}
	return err
}
