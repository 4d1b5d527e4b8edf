package preseed

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// abroad is a registry that is none of StageX's, and a tree without anything.
type abroad struct {
	*server
	tree  string
	store *cache.Store
	opts  Options
	hosts []string
}

// asked notes whose credentials were asked for, and has them for everybody.
type asked struct {
	mu    sync.Mutex
	hosts []string
}

func (a *asked) Find(ctx context.Context, registry, repository string) Credentials {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts = append(a.hosts, registry)
	return me{}.Find(ctx, registry, repository)
}

func newAbroad(t *testing.T) *abroad {
	s := newTLSServer(t)
	a := &abroad{server: s, hosts: []string{s.host()}}
	a.tree, a.store = newTree(t)
	a.opts = options(t, a.store)
	a.opts.Retries, a.opts.Client.CAFile = -1, trust(t, s)
	return a
}

// trust writes a file of the certificate of a server.
func trust(t *testing.T, servers ...*server) string {
	t.Helper()
	var all []byte
	for _, s := range servers {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pull pulls stagex/base by a digest.
func (a *abroad) pull(t *testing.T, d oci.Digest, platforms ...string) error {
	t.Helper()
	p := NewPuller(a.hosts, a.opts)
	defer p.Close()
	return p.Pull(t.Context(), Foreign{Host: a.host(), Repository: "stagex/base", Digest: d, Platforms: platforms})
}

// serveIndex answers for an image index that go-containerregistry would not take.
func (a *abroad) serveIndex(index []byte) oci.Digest {
	d := oci.DigestOf(index)
	a.misbehave(on("/manifests/"+d.String(), answer(index)))
	return d
}

func entry(d oci.Digest, size int, mediaType string, platform object) object {
	e := object{"mediaType": mediaType, "digest": d.String(), "size": size}
	if platform != nil {
		e["platform"] = platform
	}
	return e
}

func indexOf(entries ...any) []byte {
	return marshal(object{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": entries})
}

var (
	amd64 = object{"os": "linux", "architecture": "amd64"}
	arm64 = object{"os": "linux", "architecture": "arm64", "variant": "v8"}
)

// TestPull: an index resolves to the platform, and what is there is not asked for.
func TestPull(t *testing.T) {
	a := newAbroad(t)
	img := a.publish("base", noise(1, 1000), noise(2, 2000), noise(1, 1000))
	other := oci.DigestOf([]byte("nobody has it"))
	d := a.serveIndex(indexOf(
		entry(other, 13, oci.MediaTypeManifest, arm64),
		entry(other, 13, oci.MediaTypeIndex, nil),
		entry(img.digest(), len(img.manifest), oci.MediaTypeManifest, amd64),
	))
	if err := a.pull(t, d, "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, path := range []string{"manifests/" + d.String(), "manifests/" + img.digest().String(), "blobs/" + img.config.String(), "blobs/" + img.layers[0].String(), "blobs/" + img.layers[1].String()} {
		want = append(want, "GET /v2/stagex/base/"+path)
	}
	slices.Sort(want)
	if got := a.requests(); !slices.Equal(got, want) {
		t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	pulled, err := a.store.Pulled(d, []string{"linux/amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if pulled.Images[0].Manifest.Digest != img.digest() || len(pulled.Images[0].Layers) != 3 || len(pulled.Blobs) != 5 {
		t.Errorf("pulled %+v", pulled)
	}
	if err := a.pull(t, d, "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	if err := a.pull(t, img.digest(), "linux/amd64"); err != nil { // it is the index's
		t.Fatal(err)
	}
	if got := a.requests(); len(got) > 0 {
		t.Errorf("asked again: %q", got)
	}
}

// TestPullDamaged: what a disk lost is asked for again, and nothing else is.
func TestPullDamaged(t *testing.T) {
	a := newAbroad(t)
	img := a.publish("base", noise(1, 1000))
	if err := a.pull(t, img.digest(), "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	a.requests()
	spoil(t, filepath.Join(a.tree, ".sx", "blobs", "sha256", img.layers[0].Hex()))
	if err := a.pull(t, img.digest(), "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	if got := a.requests(); len(got) != 1 || !strings.HasSuffix(got[0], img.layers[0].String()) {
		t.Errorf("asked for %q", got)
	}
}

// TestPullDocker: Docker Hub's older images have docker's own media types.
func TestPullDocker(t *testing.T) {
	a := newAbroad(t)
	img := makeImage("base", func(manifest, _ object) {
		manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
		manifest["config"].(object)["mediaType"] = "application/vnd.docker.container.image.v1+json"
		layerOf(manifest, 0)["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	}, noise(1, 1000))
	for d, data := range img.blobs {
		a.do(http.MethodPost, "/v2/stagex/base/blobs/uploads/?digest="+d.String(), "", data)
	}
	a.do(http.MethodPut, "/v2/stagex/base/manifests/"+img.digest().String(), "application/vnd.docker.distribution.manifest.v2+json", img.manifest)
	if err := a.pull(t, img.digest(), "linux/amd64"); err != nil {
		t.Error(err)
	}
}

// TestPullHostile: what is not what its digest, its index or its platform says is
// refused, and nothing of it is kept but what its own digest vouches for.
func TestPullHostile(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(a *abroad) oci.Digest
		want  string
	}{
		"another manifest": {func(a *abroad) oci.Digest {
			a.misbehave(on("/manifests/", answer([]byte(`{"schemaVersion":2}`))))
			return oci.DigestOf([]byte("x"))
		}, "wrong manifest: sha256 "},
		"another layer": {func(a *abroad) oci.Digest {
			img := a.publish("base", noise(1, 1000))
			a.misbehave(on(img.layers[0].String(), answer(noise(2, 1000))))
			return img.digest()
		}, "wrong blob: sha256 "},
		"a manifest that does not end": {func(a *abroad) oci.Digest {
			a.misbehave(on("/manifests/", func(w http.ResponseWriter, _ *http.Request) bool { endless(w); return true }))
			return oci.DigestOf([]byte("x"))
		}, "the manifest has more than 4194304 bytes"},
		"another platform": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(_, config object) { config["architecture"] = "arm64" }, noise(1, 1000))
			a.put(img)
			return img.digest()
		}, "the image is for linux/arm64, not for linux/amd64"},
		"an index without the platform": {func(a *abroad) oci.Digest {
			return a.serveIndex(indexOf(entry(oci.DigestOf(nil), 0, oci.MediaTypeManifest, arm64)))
		}, "the image index has no image for linux/amd64, only for linux/arm64/v8"},
		"an index that says the wrong platform": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(_, config object) { config["architecture"] = "arm64" }, noise(1, 1000))
			a.put(img)
			return a.serveIndex(indexOf(entry(img.digest(), len(img.manifest), oci.MediaTypeManifest, amd64)))
		}, "the image is for linux/arm64, not for linux/amd64"},
		"an index with two": {func(a *abroad) oci.Digest {
			return a.serveIndex(indexOf(entry(oci.DigestOf(nil), 0, oci.MediaTypeManifest, amd64), entry(oci.DigestOf([]byte("x")), 1, oci.MediaTypeManifest, amd64)))
		}, "the image index has 2 images for linux/amd64"},
		"an index of an index": {func(a *abroad) oci.Digest {
			return a.serveIndex(indexOf(entry(oci.DigestOf(nil), 0, oci.MediaTypeIndex, amd64)))
		}, "not an image manifest"},
		"an index with a wrong size": {func(a *abroad) oci.Digest {
			img := a.publish("base", noise(1, 1000))
			return a.serveIndex(indexOf(entry(img.digest(), 9, oci.MediaTypeManifest, amd64)))
		}, "the image index says 9"},
		"an index and a manifest": {func(a *abroad) oci.Digest {
			return a.serveIndex([]byte(`{"schemaVersion":2,"manifests":[],"config":{"mediaType":"a","digest":"` + oci.DigestOf(nil).String() + `","size":0},"layers":[]}`))
		}, "image index also has the fields of a manifest"},
		"schema 1": {func(a *abroad) oci.Digest {
			return a.serveIndex([]byte(`{"schemaVersion":1,"name":"base","fsLayers":[]}`))
		}, "schema version is 1, want 2"},
		"an artifact": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(manifest, _ object) {
				manifest["config"] = object{"mediaType": "application/vnd.oci.empty.v1+json", "digest": oci.DigestOf([]byte("{}")).String(), "size": 2}
			}, noise(1, 1000))
			return a.serveIndex(img.manifest)
		}, `its config is a "application/vnd.oci.empty.v1+json", so it is not an image`},
		"a foreign layer": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(manifest, _ object) { layerOf(manifest, 0)["urls"] = []string{"https://example.org"} }, noise(1, 1000))
			return a.serveIndex(img.manifest)
		}, "a blob of it has urls"},
		"layers without end": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(manifest, _ object) {
				layerOf(manifest, 0)["size"], layerOf(manifest, 1)["size"] = int64(9)<<30, int64(9)<<30
			}, noise(1, 1000), noise(2, 1000))
			return a.serveIndex(img.manifest)
		}, "its layers claim more than"},
		"ONBUILD": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(_, config object) { config["config"] = object{"OnBuild": []string{"RUN evil"}} }, noise(1, 1000))
			a.put(img)
			return img.digest()
		}, `the image has ONBUILD instructions ("RUN evil"), which would run unseen`},
		"a layer too many": {func(a *abroad) oci.Digest {
			img := makeImage("base", func(_, config object) { config["rootfs"] = object{"type": "layers", "diff_ids": []string{}} }, noise(1, 1000))
			a.put(img)
			return img.digest()
		}, "its manifest names 1 layers, its config 0"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAbroad(t)
			d := test.serve(a)
			err := a.pull(t, d, "linux/amd64")
			wantError(t, err, test.want)
			if failed := (*Error)(nil); !errors.As(err, &failed) {
				t.Errorf("%T is no *Error", err)
			}
			if _, err := a.store.Pulled(d, []string{"linux/amd64"}); err == nil {
				t.Error("it can be built from")
			}
		})
	}
}

// TestPullAsksNobodyElse: a host that the user does not name is not asked for
// anything, nor are its credentials; those of one that is named go to it alone.
func TestPullAsksNobodyElse(t *testing.T) {
	a, b := newAbroad(t), newAbroad(t)
	img := a.publish("base", noise(1, 1000))
	var keys asked
	a.opts.Client.Keychain = &keys
	a.opts.Client.CAFile = trust(t, a.server, b.server)
	hosts := a.hosts
	a.hosts = []string{"127.0.0.1", "docker.io"} // a port is part of the host
	err := a.pull(t, img.digest(), "linux/amd64")
	if none := (*ForeignHostError)(nil); !errors.As(err, &none) || len(keys.hosts) > 0 || len(a.requests()) > 0 {
		t.Errorf("error %v, credentials of %q were asked for", err, keys.hosts)
	}
	a.hosts = hosts

	var got []string
	b.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		got = append(got, strings.Join(r.Header["Authorization"], ","))
		w.Write(img.blobs[img.layers[0]])
		return true
	})
	a.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if user, _, ok := r.BasicAuth(); !ok || user != "me" {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.HasSuffix(r.URL.Path, img.layers[0].String()) {
			http.Redirect(w, r, b.URL+"/elsewhere", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	if err := a.pull(t, img.digest(), "linux/amd64"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{""}) {
		t.Errorf("the host of the redirect got the credentials %q", got)
	}
	if slices.ContainsFunc(keys.hosts, func(h string) bool { return h != a.host() }) {
		t.Errorf("credentials of %q were asked for", keys.hosts)
	}
}

// TestPullOverTLS: plain HTTP is refused, be it to this machine, or to a host of
// registries.plain_http, or along a redirect.
func TestPullOverTLS(t *testing.T) {
	plain := newServer(t)
	img := plain.publish("base", noise(1, 1000))
	_, store := newTree(t)
	opts := options(t, store)
	opts.Retries, opts.Client.PlainHTTP = -1, []string{plain.host()}
	p := NewPuller([]string{plain.host()}, opts)
	defer p.Close()
	err := p.Pull(t.Context(), Foreign{Host: plain.host(), Repository: "stagex/base", Digest: img.digest(), Platforms: []string{"linux/amd64"}})
	if failed := (*Error)(nil); !errors.As(err, &failed) || len(plain.requests()) > 0 {
		t.Errorf("error %v", err)
	}

	a := newAbroad(t)
	img = a.publish("base", noise(1, 1000))
	a.misbehave(on("/blobs/", func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
		return true
	}))
	wantError(t, a.pull(t, img.digest(), "linux/amd64"), "redirect refused: from https to http")
}

// TestPullInterrupted: the end of the run is no fault of the registry.
func TestPullInterrupted(t *testing.T) {
	a := newAbroad(t)
	img := a.publish("base", noise(1, 1000))
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	a.misbehave(on("/blobs/", func(w http.ResponseWriter, r *http.Request) bool {
		cancel(over)
		<-r.Context().Done()
		return true
	}))
	p := NewPuller(a.hosts, a.opts)
	defer p.Close()
	err := p.Pull(ctx, Foreign{Host: a.host(), Repository: "stagex/base", Digest: img.digest(), Platforms: []string{"linux/amd64"}})
	if !errors.Is(err, over) {
		t.Errorf("error %v, want %v", err, over)
	}
}
