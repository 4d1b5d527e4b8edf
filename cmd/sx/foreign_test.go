package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"codeberg.org/stagex/sx/cache/oci"
)

func init() { commands["foreign"], commands["asked"] = foreign, asked }

// elsewhere is a registry that is none of StageX's, behind TLS. It wants a password.
type elsewhere struct {
	http.Handler
	mu   sync.Mutex
	seen []string // GETs of blobs and manifests: the last part of the path
}

func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
		w.Header().Set("WWW-Authenticate", `Basic realm="elsewhere"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/sha256:") {
		e.mu.Lock()
		e.seen = append(e.seen, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
		e.mu.Unlock()
	}
	e.Handler.ServeHTTP(w, r)
}

type elsewhereKey struct{}

// foreign DIR OUTPUT serves the image DIR/out/OUTPUT, which is for linux/amd64, as
// $ELSEWHERE/some/base@$MANIFEST, and as one of an image index, $INDEX, that has
// another for linux/arm64. Its certificate is trusted, and
// $HOME/.docker/config.json has its password.
func foreign(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "foreign DIR OUTPUT")
	e := &elsewhere{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	blobs := ts.MkAbs(filepath.Join(args[0], "out", args[1], "blobs", "sha256"))
	files, err := filepath.Glob(filepath.Join(blobs, "*"))
	ts.Check(err)
	var manifest, index []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		ts.Check(err)
		if root, err := oci.ParseRoot(data); err == nil && root.IsIndex() {
			index = data
		} else if err == nil {
			manifest = data
		}
		e.put(ts, http.MethodPost, "/blobs/uploads/?digest="+oci.DigestOf(data).String(), "", data)
	}
	index = e.withAnother(ts, index, manifest)
	e.put(ts, http.MethodPut, "/manifests/"+oci.DigestOf(manifest).String(), oci.MediaTypeManifest, manifest)
	e.put(ts, http.MethodPut, "/manifests/"+oci.DigestOf(index).String(), oci.MediaTypeIndex, index)
	ts.Setenv("MANIFEST", oci.DigestOf(manifest).String())
	ts.Setenv("INDEX", oci.DigestOf(index).String())

	server := httptest.NewUnstartedServer(e)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	ts.Defer(server.Close)
	host := server.Listener.Addr().String()
	ts.Setenv("ELSEWHERE", host)
	ca := ts.MkAbs("elsewhere.pem")
	ts.Check(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644))
	ts.Setenv("SX_REGISTRIES_CA_FILE", ca)
	docker := filepath.Join(ts.Getenv("HOME"), ".docker")
	ts.Check(os.MkdirAll(docker, 0o700))
	ts.Check(os.WriteFile(filepath.Join(docker, "config.json"), []byte(`{"auths":{"`+host+`":{"auth":"bWU6c2VjcmV0"}}}`), 0o600))
	ts.Value(elsewhereKey{}).(*elsewhere1).elsewhere = e
}

// elsewhere1 is the registry that the script made last.
type elsewhere1 struct{ *elsewhere }

func (e *elsewhere) put(ts *testscript.TestScript, method, path, contentType string, data []byte) {
	req := httptest.NewRequest(method, "/v2/some/base"+path, bytes.NewReader(data))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	e.Handler.ServeHTTP(w, req)
	if w.Code >= 300 {
		ts.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

// withAnother adds to an image index, before its image, one for another platform.
func (e *elsewhere) withAnother(ts *testscript.TestScript, index, manifest []byte) []byte {
	other := append(bytes.Clone(manifest), '\n')
	e.put(ts, http.MethodPut, "/manifests/"+oci.DigestOf(other).String(), oci.MediaTypeManifest, other)
	var doc map[string]any
	ts.Check(json.Unmarshal(index, &doc))
	doc["manifests"] = append([]any{map[string]any{
		"mediaType": oci.MediaTypeManifest, "digest": oci.DigestOf(other).String(), "size": len(other),
		"platform": map[string]any{"os": "linux", "architecture": "arm64", "variant": "v8"},
	}}, doc["manifests"].([]any)...)
	data, err := json.Marshal(doc)
	ts.Check(err)
	return data
}

// asked N wants that many GETs of blobs and manifests since the last time.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "asked N")
	e := ts.Value(elsewhereKey{}).(*elsewhere1).elsewhere
	e.mu.Lock()
	defer e.mu.Unlock()
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if len(e.seen) != want {
		ts.Fatalf("the registry was asked for %s, want %d requests", list(e.seen), want)
	}
	e.seen = nil
}
