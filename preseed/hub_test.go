package preseed

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// newHub returns the repository of core-a on s as a hub.
func newHub(t *testing.T, s *server, chain Keychain) (*Hub, *cache.Store) {
	t.Helper()
	_, store := newTree(t)
	opts := options(t, store, s)
	opts.Client.Keychain = chain
	h, err := NewHub(Registry{s.host(), "stagex/core-a"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h, store
}

func TestParseHub(t *testing.T) {
	for text, want := range map[string]string{
		"oci://registry.example:5000/hub":   "",
		"oci://localhost/a/b":               "",
		"registry.example/hub":              "oci://<host>/<repository>",
		"oci://registry.example":            "<host>/<namespace>",
		"oci://team/hub":                    "not a host",
		"oci://registry.example/Hub":        "hub",
		"oci://user:secret@registry.io/hub": "hub",
		"https://registry.example/hub":      "oci://<host>/<repository>",
	} {
		at, err := ParseHub(text)
		switch {
		case want != "":
			wantError(t, err, want)
		case err != nil || HubScheme+at.String() != text:
			t.Errorf("%s: %s, %v", text, at, err)
		}
	}
}

// What a hub sends is kept if it is what its digest names, and else nothing is.
func TestHubSends(t *testing.T) {
	layer := noise(2, 1000)
	for _, c := range []struct {
		name, want string
		misbehave  misuse
	}{
		{"as it should", "", func(http.ResponseWriter, *http.Request) bool { return false }},
		{"another manifest", "sha256", on("/manifests/", answer([]byte("{}")))},
		{"another blob", "sha256", on("/blobs/", answer(noise(3, 1000)))},
		{"no manifest", "does not have the image sha256", on("/manifests/", status(404))},
		{"no blob", "does not have the blob sha256", on("/blobs/", status(404))},
		{"refuses", "refuses access", status(403)},
		{"full", "507", status(507)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			img := s.publish("core-a", layer)
			s.misbehave(c.misbehave)
			h, store := newHub(t, s, anonymous{})
			manifest := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: img.digest(), Size: int64(len(img.manifest))}
			blob := oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: oci.DigestOf(layer), Size: int64(len(layer))}
			err := errors.Join(h.Document(t.Context(), manifest), h.Has(t.Context(), blob), h.Layer(t.Context(), blob))
			for _, d := range []oci.Descriptor{manifest, blob} {
				path, missing := store.BlobPath(d.Digest)
				if data, _ := os.ReadFile(path); missing == nil && oci.DigestOf(data) != d.Digest {
					t.Errorf("the store has other bytes as %s", d.Digest)
				}
			}
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				tag, err := h.Tagged(t.Context(), "1")
				if err != nil && !errors.As(err, new(*NotFoundError)) || err == nil && tag != img.digest() {
					t.Errorf("tag: %s, %v", tag, err)
				}
				return
			}
			wantError(t, err, c.want)
			if !errors.As(err, new(*HubError)) {
				t.Errorf("%v is no HubError", err)
			}
		})
	}
}

// A layer of another size is not the one that a manifest names.
func TestHubHasSize(t *testing.T) {
	s := newServer(t)
	layer := noise(2, 1000)
	s.publish("core-a", layer)
	h, _ := newHub(t, s, anonymous{})
	err := h.Has(t.Context(), oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: oci.DigestOf(layer), Size: 999})
	wantError(t, err, "has 1000 bytes, not 999")
}

// An engine gets tokens for the hub's repository, each from the server that the hub names,
// and for nothing else.
func TestHubToken(t *testing.T) {
	s := newServer(t)
	var asked []string
	guarded(s, false, ordinary, func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprint(user, r.URL.Query()["scope"]))
		fmt.Fprint(w, `{"token":"T","expires_in":300}`)
	})
	h, _ := newHub(t, s, me{})
	if err := h.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	user := me{}.Find(t.Context(), "", "").Username
	ours := "repository:stagex/core-a:"
	for _, c := range []struct {
		scopes, want string
		refused      []string
	}{
		{ours + "pull", user + "[" + ours + "pull]", nil},
		{ours + "pull,push", user + "[" + ours + "pull,push]", nil},
		{ours + "push,delete", user + "[" + ours + "push]", []string{ours + "push,delete"}},
		{ours + "pull repository:other:pull", user + "[" + ours + "pull]", []string{"repository:other:pull"}},
		{"repository:other:pull", "", []string{"repository:other:pull"}},
		{"repository:stagex/core-a/b:pull", "", []string{"repository:stagex/core-a/b:pull"}},
		{"registry:catalog:*", "", []string{"registry:catalog:*"}},
		{"", "", nil},
	} {
		asked = nil
		token, life, refused, err := h.Token(t.Context(), []string{c.scopes})
		if fmt.Sprint(refused) != fmt.Sprint(c.refused) {
			t.Errorf("%q: %q were refused", c.scopes, refused)
		}
		if c.want == "" {
			wantError(t, err, "sx gives engines tokens only for "+h.Repository())
			if len(asked) > 0 {
				t.Errorf("%q: the token server was asked %q", c.scopes, asked)
			}
			continue
		}
		if err != nil || token != "T" || life != 5*time.Minute || strings.Join(asked, ";") != c.want {
			t.Errorf("%q: %q for %s, %v; the token server was asked %q", c.scopes, token, life, err, asked)
		}
	}
}

// A registry that takes passwords alone is refused before anything is built.
func TestHubPassword(t *testing.T) {
	s := newServer(t)
	guarded(s, false, `Basic realm="x"`, nil)
	h, _ := newHub(t, s, me{})
	err := h.Check(t.Context())
	wantError(t, err, "sx gives engines no password")
	if _, _, _, err := h.Token(t.Context(), []string{"repository:stagex/core-a:pull"}); err == nil {
		t.Error("it gave a token")
	}
	if !errors.As(err, new(*PasswordError)) || strings.Contains(err.Error(), me{}.Find(t.Context(), "", "").Password) {
		t.Error(err)
	}
}
