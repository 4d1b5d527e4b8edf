package preseed

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// A hostile way to answer. The registry has the image core-a, of one layer of a
// thousand bytes, as change spoils its manifest or config.
type hostile struct {
	name   string
	change func(manifest, config object)
	misuse func(img image) misuse
	want   string // in the error
}

// whole is what an honest server would send.
func whole(w http.ResponseWriter, contentType string, data []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", itoa(len(data)))
	w.Write(data)
}

// endless writes until the client goes away, at most a gigabyte.
func endless(w http.ResponseWriter) {
	junk := make([]byte, 1<<16)
	for range 1 << 14 {
		if _, err := w.Write(junk); err != nil {
			return
		}
	}
}

func onManifest(f misuse) func(image) misuse {
	return func(image) misuse { return on("/manifests/", f) }
}

func onLayer(f func(w http.ResponseWriter, r *http.Request, layer []byte)) func(image) misuse {
	return func(img image) misuse {
		return on(img.layers[0].String(), func(w http.ResponseWriter, r *http.Request) bool {
			f(w, r, img.blobs[img.layers[0]])
			return true
		})
	}
}

func layerOf(manifest object, i int) object { return manifest["layers"].([]any)[i].(object) }

var hostiles = []hostile{
	// the manifest
	{name: "another manifest", misuse: onManifest(answer([]byte(`{"schemaVersion":2}`))), want: "wrong manifest: sha256 "},
	{name: "an empty manifest", misuse: onManifest(status(200)), want: "wrong manifest: sha256 e3b0c442"},
	{name: "a web page", misuse: onManifest(func(w http.ResponseWriter, _ *http.Request) bool {
		whole(w, "text/html; charset=utf-8", []byte("<html>please log in</html>"))
		return true
	}), want: "it answered with a web page (text/html)"},
	{name: "a manifest that does not end", misuse: onManifest(func(w http.ResponseWriter, _ *http.Request) bool {
		endless(w)
		return true
	}), want: "the manifest has more than 4194304 bytes"},
	{name: "a manifest said to be huge", misuse: onManifest(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "1099511627776")
		w.WriteHeader(200)
		return true
	}), want: "the manifest claims 1099511627776 bytes"},
	{name: "announced as an index", misuse: func(img image) misuse {
		return on("/manifests/", func(w http.ResponseWriter, _ *http.Request) bool {
			whole(w, oci.MediaTypeIndex, img.manifest)
			return true
		})
	}, want: "but was announced as a"},
	{name: "an index", change: func(m, _ object) {
		clear(m)
		m["schemaVersion"], m["mediaType"], m["manifests"] = 2, oci.MediaTypeIndex, []any{}
	},
		want: "not that of an image manifest"},
	{name: "an index that is a manifest too", change: func(m, _ object) { m["manifests"] = []any{} }, want: "also has the fields of an index"},
	{name: "schema 1", change: func(m, _ object) { clear(m); m["schemaVersion"], m["fsLayers"], m["signatures"] = 1, []any{}, []any{} },
		want: "schema version is 1, want 2"},
	{name: "docker's media type", change: func(m, _ object) { m["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json" },
		want: "that of a build is a \"application/vnd.oci.image.manifest.v1+json\""},
	{name: "an artifact's config", change: func(m, _ object) { m["config"].(object)["mediaType"] = "application/vnd.oci.empty.v1+json" },
		want: "its config is a \"application/vnd.oci.empty.v1+json\""},
	{name: "a field in another case", change: func(m, _ object) { m["Layers"] = []any{} }, want: `names "Layers", which some read as "layers"`},
	{name: "sha512", change: func(m, _ object) { layerOf(m, 0)["digest"] = "sha512:" + strings.Repeat("ab", 64) }, want: "parsing digest"},
	{name: "a path for a digest", change: func(m, _ object) { layerOf(m, 0)["digest"] = "sha256:../../../../etc/passwd" }, want: "parsing digest"},
	{name: "a negative size", change: func(m, _ object) { layerOf(m, 0)["size"] = -1 }, want: "size -1 is out of bounds"},
	{name: "a huge layer", change: func(m, _ object) { layerOf(m, 0)["size"] = int64(17 << 30) }, want: "above the limit of 17179869184"},
	{name: "a huge config", change: func(m, _ object) { m["config"].(object)["size"] = 5 << 20 }, want: "its config claims 5242880 bytes"},
	{name: "two sizes of a layer", change: func(m, _ object) {
		m["layers"] = append(m["layers"].([]any), object{"mediaType": oci.MediaTypeLayer, "digest": layerOf(m, 0)["digest"], "size": 1})
	}, want: "is said to have 1000 bytes and 1"},
	{name: "a foreign layer", change: func(m, _ object) {
		layerOf(m, 0)["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	},
		want: "rootfs.foreign.diff.tar.gzip\", those of a build are"},
	{name: "urls", change: func(m, _ object) { layerOf(m, 0)["urls"] = []string{"https://evil.example/"} }, want: "has urls, which lead elsewhere"},
	{name: "ten thousand layers", change: func(m, _ object) {
		for range 10000 {
			m["layers"] = append(m["layers"].([]any), layerOf(m, 0))
		}
	}, want: "10002 descriptors are more than 4096"},
	// the config
	{name: "another platform", change: func(_, c object) { c["architecture"] = "riscv64" }, want: "the published image is for linux/riscv64, not for linux/amd64"},
	{name: "fewer layers in the config", change: func(_, c object) { c["rootfs"] = object{} }, want: "its manifest names 1 layers, its config 0"},
	{name: "a platform that paints", change: func(_, c object) { c["os"] = "\x1b[2J" }, want: `is not part of a platform`},
	// the layer
	{name: "another layer", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { whole(w, "", noise(9, 1000)) }),
		want: "wrong blob: sha256 "},
	{name: "a longer layer, as it says", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, l []byte) { whole(w, "", append(l[:1000:1000], 1)) }),
		want: "the blob does not end after its 1000 bytes"},
	{name: "a layer that does not end", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, l []byte) {
		w.Write(l)
		w.(http.Flusher).Flush()
		endless(w)
	}), want: "the blob does not end after its 1000 bytes"},
	{name: "a truncated layer", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, l []byte) {
		w.Write(l[:100])
		w.(http.Flusher).Flush()
	}), want: "the blob breaks off after 100 of its 1000 bytes"},
	{name: "a web page for a layer", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { whole(w, "text/html", []byte("<html>")) }),
		want: "it answered with a web page (text/html)"},
	{name: "a gzip bomb", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		w.(http.Flusher).Flush()
		z := gzip.NewWriter(w)
		io.CopyN(z, zeros{}, 64<<20)
		z.Close()
	}), want: "it answered with Content-Encoding \"gzip\""},
	{name: "a range that was not asked for", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, l []byte) {
		w.Header().Set("Content-Range", "bytes 500-999/1000")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(l[500:])
	}), want: "wrong Content-Range"},
	{name: "nothing at all", misuse: onLayer(func(w http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }), want: "no answer for 200ms"},
	{name: "a slow drip", misuse: onLayer(func(w http.ResponseWriter, r *http.Request, l []byte) {
		for i := range l {
			w.Write(l[i : i+1])
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}), want: "bytes per second on average for 400ms"},
	{name: "a stall", misuse: onLayer(func(w http.ResponseWriter, r *http.Request, l []byte) {
		w.Write(l[:10])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), want: "no byte for 200ms"},
	{name: "a closed connection", misuse: onLayer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { panic(http.ErrAbortHandler) }), want: "the connection was closed without an answer"},
	{name: "a redirect to another scheme", misuse: onLayer(redirect("ftp://127.0.0.1/x")), want: `scheme "ftp" is neither http nor https`},
	{name: "a redirect to plain http elsewhere", misuse: onLayer(redirect("http://10.255.255.1/x")), want: "refusing plain http to 10.255.255.1"},
	{name: "a redirect with credentials", misuse: onLayer(redirect("http://user:secret@127.0.0.1/x")), want: "redirect refused: its URL has credentials"},
	{name: "redirects without end", misuse: onLayer(func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, r.URL.String()+"?"+strings.Repeat("x", 10), http.StatusFound)
	}), want: "redirect refused: more than 10"},
	// the way there
	{name: "401 for ever", misuse: always(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}), want: "refuses access to stagex/core-a (HTTP status 401)"},
	{name: "401 with a token that is no good", misuse: always(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			fmt.Fprint(w, `{"token":"bad"}`)
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}), want: "refuses access to stagex/core-a (HTTP status 401)"},
	{name: "a token server elsewhere in the network", misuse: always(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://169.254.169.254/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}), want: "invalid realm"},
	{name: "an endless token", misuse: always(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			endless(w)
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}), want: "answered with more than 65536 bytes"},
	{name: "a message without end", misuse: onManifest(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(418)
		fmt.Fprintf(w, `{"errors":[{"code":"X","message":%q}]}`, strings.Repeat("no ", 1000))
		return true
	}), want: "HTTP status 418 I'm a teapot: X no no no"},
	{name: "500", misuse: onManifest(status(500)), want: "HTTP status 500 Internal Server Error"},
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func always(f misuse) func(image) misuse { return func(image) misuse { return f } }

func redirect(to string) func(w http.ResponseWriter, r *http.Request, _ []byte) {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func TestHostile(t *testing.T) {
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			img := makeImage("core-a", h.change, noise(1, 1000))
			s.putAsIs(img)
			if h.misuse != nil {
				s.misbehave(h.misuse(img))
			}
			tree, store := newTree(t)
			opts := options(t, store, s)
			opts.Retries = -1
			if strings.HasSuffix(h.want, "00ms") { // what is about time; else a busy machine would be
				opts.Client.Limits = transfer.Limits{Header: 200 * time.Millisecond, Stall: 200 * time.Millisecond, MinRate: 100}
			}
			_, err := Run(t.Context(), wanted(img), opts)
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("the error is %v", err)
			}
			wantError(t, err, h.want)
			if len(err.Error()) > 600 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
			// What was hashed may stay for a next run: it is what it says.
			nothingKept(t, tree, img.digest(), img.config, half(err, img))
		})
	}
}

// half is the layer where a good beginning of it may be kept for the next run.
func half(err error, img image) oci.Digest {
	var late *transfer.StallError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &late) {
		return img.layers[0]
	}
	return oci.Digest{}
}

// putAsIs is put for manifests that go-containerregistry's own registry would not
// take: they are answered here.
func (s *server) putAsIs(img image) {
	s.t.Helper()
	path := "/v2/stagex/" + img.output + "/manifests/" + img.digest().String()
	real := s.real
	s.real = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path && r.Method == http.MethodGet {
			var doc struct{ MediaType string }
			if unmarshal(img.manifest, &doc) != nil || doc.MediaType == "" {
				doc.MediaType = "application/json"
			}
			whole(w, doc.MediaType, img.manifest)
			return
		}
		real.ServeHTTP(w, r)
	})
	for d, data := range img.blobs {
		s.do(http.MethodPost, "/v2/stagex/"+img.output+"/blobs/uploads/?digest="+d.String(), "", data)
	}
}

// However large an image is, memory stays flat.
func TestMemory(t *testing.T) {
	s := newServer(t)
	var images []image
	for i := range 4 {
		images = append(images, s.publish(fmt.Sprintf("core-%d", i), noise(uint64(i), 8<<20), noise(uint64(i+9), 8<<20)))
	}
	_, store := newTree(t)
	opts := options(t, store, s)
	opts.Log = nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	mustRun(t, opts, images...)
	runtime.ReadMemStats(&after)
	// The registry is in this process too, and has its images before.
	if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
		t.Errorf("preseeding 64 MiB allocated %d MiB", got>>20)
	}
}

// A blob that is damaged on disk, in all the layouts that share it, is had again,
// and nothing else.
func TestDamaged(t *testing.T) {
	s := newServer(t)
	img := s.publish("core-a", noise(1, 1000), noise(2, 10))
	tree, store := newTree(t)
	mustRun(t, options(t, store, s), img)
	want := files(t, filepath.Join(tree, "out"))
	s.requests()
	spoil(t, filepath.Join(tree, "out/core-a/blobs/sha256", img.layers[0].Hex()))

	store = openStore(t, tree)
	report := mustRun(t, options(t, store, s), img)
	got := s.requests()
	if len(report.Fetched) != 1 || len(got) != 1 || !strings.HasSuffix(got[0], img.layers[0].String()) {
		t.Errorf("%+v, requests %q", report, got)
	}
	if d := diff(want, files(t, filepath.Join(tree, "out"))); d != "" {
		t.Error(d)
	}
}
