package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

func init() {
	commands["publish"], commands["pulled"], commands["images"], commands["layers"] = publishTo, pulled, images, layers
}

// served is a registry that a script publishes to, and what it was asked for.
type served struct {
	http.Handler
	mu        sync.Mutex
	manifests map[string]bool // outputs whose manifest was asked for
	requests  int             // but the pings
	spoil     string          // what becomes of blobs: "flip", "cut", "lack"; "" for nothing
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) > 5 && r.Method == http.MethodGet {
		s.requests++
		if parts[4] == "manifests" {
			s.manifests[parts[3]] = true
		}
	}
	spoil := s.spoil
	s.mu.Unlock()
	if spoil != "" && len(parts) > 5 && parts[4] == "blobs" && r.Method == http.MethodGet {
		spoiled(w, r, s.Handler, spoil)
		return
	}
	s.Handler.ServeHTTP(w, r)
}

type servedKey struct{}

// publishTo is the command publish DIR [OUTPUT...]: it serves what DIR/out holds as the published images of a
// registry, and makes it the one that sx asks: SX_REGISTRIES_HOSTS.
func publishTo(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "publish DIR [OUTPUT...]")
	s := &served{manifests: map[string]bool{}, Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	outputs := args[1:]
	if len(outputs) == 0 {
		entries, err := os.ReadDir(ts.MkAbs(filepath.Join(args[0], "out")))
		ts.Check(err)
		for _, e := range entries {
			outputs = append(outputs, e.Name())
		}
	}
	for _, output := range outputs {
		files, err := filepath.Glob(ts.MkAbs(filepath.Join(args[0], "out", output, "blobs", "sha256", "*")))
		ts.Check(err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			ts.Check(err)
			s.put(ts, output, "sha256:"+filepath.Base(file), data)
		}
	}
	server := httptest.NewServer(s)
	ts.Defer(server.Close)
	ts.Setenv("SX_REGISTRIES_HOSTS", strings.TrimPrefix(server.URL, "http://"))
	ts.Value(servedKey{}).(*served1).served = s
}

// served1 is the registry that the script published to last.
type served1 struct{ *served }

// put sends a blob, and as a manifest too what is one.
func (s *served) put(ts *testscript.TestScript, output, digest string, data []byte) {
	var doc struct{ MediaType string }
	send := func(method, path string) {
		req := httptest.NewRequest(method, "/v2/stagex/"+output+path, bytes.NewReader(data))
		req.Header.Set("Content-Type", doc.MediaType)
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, req)
		if w.Code >= 300 {
			ts.Fatalf("%s %s %s: %d %s", method, output, path, w.Code, w.Body)
		}
	}
	send(http.MethodPost, "/blobs/uploads/?digest="+digest)
	if json.Unmarshal(data, &doc) == nil && strings.HasSuffix(doc.MediaType, ".manifest.v1+json") {
		send(http.MethodPut, "/manifests/"+digest)
	}
}

// pulled [OUTPUT...] compares the outputs whose manifests the registry was asked
// for since the last time with those named; with none, there must have been no
// request at all.
func pulled(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "pulled [OUTPUT...]")
	s := ts.Value(servedKey{}).(*served1).served
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for output := range s.manifests {
		got = append(got, output)
	}
	slices.Sort(got)
	slices.Sort(args)
	if !slices.Equal(got, args) || len(args) == 0 && s.requests > 0 {
		ts.Fatalf("the registry was asked for %s (%d requests), want %s", list(got), s.requests, list(args))
	}
	s.manifests, s.requests = map[string]bool{}, 0
}

// images DIR OUTPUT... puts a small image for linux/amd64 of each output into
// DIR/out, as a build would leave it, and lists them in DIR/digests.
func images(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "images DIR OUTPUT...")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	store, err := cache.Open(dir, cache.Options{KeyFile: dir + ".key"})
	ts.Check(err)
	listed := cache.Published{}
	for _, output := range args[1:] {
		listed[output] = putImage(ts, store, output, layerOf(ts, output))
	}
	ts.Check(store.WriteDigests(listed))
}

// layers DIR OUTPUT TAR... puts an image of one output into DIR/out, with these tar archives
// as its layers, from the bottom.
func layers(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 2, "layers DIR OUTPUT TAR...")
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	store, err := cache.Open(dir, cache.Options{KeyFile: dir + ".key"})
	ts.Check(err)
	defer store.Close()
	var plain [][]byte
	for _, name := range args[2:] {
		data, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		plain = append(plain, data)
	}
	putImage(ts, store, args[1], plain...)
}

func putImage(ts *testscript.TestScript, store *cache.Store, output string, plain ...[]byte) oci.Digest {
	into, err := store.Stage(output)
	ts.Check(err)
	defer into.Close()
	add := func(mediaType string, data []byte) oci.Descriptor {
		d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(data), Size: int64(len(data))}
		ts.Check(into.WriteBlob(d.Digest, d.Size, bytes.NewReader(data)))
		return d
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		ts.Check(err)
		return data
	}
	var layers []oci.Descriptor
	var ids []oci.Digest
	for _, tar := range plain {
		layers, ids = append(layers, add(oci.MediaTypeLayer, packed(ts, tar))), append(ids, oci.DigestOf(tar))
	}
	config := add(oci.MediaTypeConfig, encode(map[string]any{
		"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	}))
	manifest := add(oci.MediaTypeManifest, encode(map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": layers,
		"annotations": map[string]string{oci.AnnotationVersion: "latest"},
	}))
	data, top, err := oci.ImageIndex(oci.Manifest{Digest: manifest.Digest, Size: manifest.Size, Platform: "linux/amd64"})
	ts.Check(err)
	add(top.MediaType, data)
	_, err = into.Commit(context.Background(), top, oci.IndexAnnotations(output, "latest"))
	ts.Check(err)
	return manifest.Digest
}

// layerOf is a layer with one file, for podman too.
func layerOf(ts *testscript.TestScript, output string) []byte {
	var a bytes.Buffer
	w := tar.NewWriter(&a)
	text := "layer of " + output
	ts.Check(w.WriteHeader(&tar.Header{Name: "layer", Mode: 0o644, Size: int64(len(text))}))
	_, err := w.Write([]byte(text))
	ts.Check(err)
	ts.Check(w.Close())
	return a.Bytes()
}

func packed(ts *testscript.TestScript, plain []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(plain)
	ts.Check(err)
	ts.Check(z.Close())
	return b.Bytes()
}
