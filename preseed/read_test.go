package preseed_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/preseed"
)

// A tag gives the manifest's bytes with their digest; a blob goes on where a transfer broke off, and is never taken for
// another.
func TestReadRepository(t *testing.T) {
	var cuts atomic.Int32 // answers with a blob that break off
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/sha256:") && r.Method == http.MethodGet && cuts.Add(-1) >= 0 {
			w = &cutting{ResponseWriter: w, left: 1000}
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	img, err := random.Image(100_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/stagex/core-a:1.2")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	client, err := preseed.NewClient(preseed.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	repo, err := client.Repository(ctx, host+"/stagex/core-a")
	if err != nil {
		t.Fatal(err)
	}
	data, digest, mediaType, err := repo.Tagged(ctx, "1.2")
	if err != nil || oci.DigestOf(data) != digest || mediaType == "" {
		t.Fatalf("got %d bytes, %s, %q, %v", len(data), digest, mediaType, err)
	}
	var missing *preseed.NotFoundError
	if _, _, _, err := repo.Tagged(ctx, "2"); !errors.As(err, &missing) {
		t.Errorf("a tag that is not there: %v", err)
	}
	m, err := oci.ReadManifest(data, mediaType)
	if err != nil {
		t.Fatal(err)
	}
	layer := m.Layers[0].Descriptor
	f := emptyFile(t)
	cuts.Store(2)
	if err := repo.Download(ctx, layer, f, 3); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || oci.DigestOf(got) != layer.Digest {
		t.Errorf("the file has %d bytes with another digest: %v", len(got), err)
	}
	layer.Size-- // then the registry's bytes are not those that are wanted
	if err := repo.Download(ctx, layer, emptyFile(t), 0); err == nil {
		t.Error("a blob of another size was taken")
	}
}

func emptyFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// cutting ends the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}
