package preseed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/preseed/registrytest"
)

// debian is docker's own registry.
type debian struct {
	*registrytest.Registry
	t testing.TB
}

// newDebian starts one that wants a password.
func newDebian(t testing.TB) *debian {
	t.Helper()
	r, err := registrytest.Start(t.TempDir(), true)
	if errors.Is(err, registrytest.ErrMissing) && os.Getenv(registrytest.Left) == "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return &debian{r, t}
}

func (d *debian) client() *Client {
	d.t.Helper()
	c, err := NewClient(ClientOptions{Keychain: login{}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(c.Close)
	return c
}

type login struct{}

func (login) Find(context.Context, string, string) Credentials {
	return Credentials{Username: registrytest.User, Password: registrytest.Password}
}

// What was pushed to docker's registry is preseeded from it, byte for byte.
func TestDebianImages(t *testing.T) {
	d := newDebian(t)
	reg := Registry{d.Host, "stagex"}
	shared := noise(1, 300_000)
	p := NewPusher(d.client(), PushOptions{})
	var images []image
	for _, output := range []string{"core-a", "core-b"} {
		img := newImage(output, shared, []byte(output))
		images = append(images, img)
		for range 2 { // the second finds all there
			if _, err := p.Push(t.Context(), reg.Repository(output), img.contents(), []string{"1.0", "latest"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.Sent() > 310_000 {
		t.Errorf("%d bytes were sent: the shared layer was not mounted", p.Sent())
	}
	_, store := newTree(t)
	var wanted []Image
	for _, img := range images {
		wanted = append(wanted, img.wanted())
	}
	opts := Options{
		Store: store, Registries: []Registry{reg}, Client: ClientOptions{Keychain: login{}},
		Backoff: func(int) time.Duration { return 0 },
	}
	if _, err := Run(t.Context(), wanted, opts); err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		l, err := store.Check(img.output)
		if err != nil || l.Digest() != img.digest() {
			t.Errorf("%s: %s, %v", img.output, l.Digest(), err)
		}
	}
	opts.Client.Keychain = anonymous{}
	_, store = newTree(t)
	opts.Store = store
	_, err := Run(t.Context(), wanted, opts)
	wantError(t, err, "core-a")
}

// files of a definition, as sx fetch --push has them.
func testFiles(contents map[string][]byte) (files []File) {
	for name, data := range contents {
		files = append(files, File{name, inMemory("", data)})
	}
	return files
}

// Sources are blobs that outlive the collection of garbage, and come by range.
func TestDebianSources(t *testing.T) {
	d := newDebian(t)
	name := d.Host + "/stagex/sources"
	data := noise(1, 200_000)
	client := d.client()
	contents, tag, err := Sources("core/rust", "1.80.0", testFiles(map[string][]byte{"rustc.tar.xz": data}))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		if present, err := NewPusher(client, PushOptions{}).Push(t.Context(), name, contents, []string{tag}); err != nil || present != want {
			t.Fatalf("push %d: present %v, %v", i, present, err)
		}
	}
	if err := d.Collect(); err != nil {
		t.Fatal(err)
	}
	for _, ranges := range []string{"", "bytes=150000-"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, SourcePrefix(name)+oci.DigestOf(data).Hex(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", ranges)
		resp, err := client.SourceTransport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(got) == 0 || !strings.HasSuffix(string(data), string(got)) || (ranges == "") != (len(got) == len(data)) {
			t.Errorf("range %q: %s, %d bytes, %v", ranges, resp.Status, len(got), err)
		}
	}
}
