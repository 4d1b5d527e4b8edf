package preseed_test

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/preseed"
)

// A document is attached to an image and found again, by the referrers API or the
// fallback tag, and the image's digest stays.
func TestReferrers(t *testing.T) {
	for name, api := range map[string]bool{"with the API": true, "with the fallback tag": false} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(api)))
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "http://")
			client, err := preseed.NewClient(preseed.ClientOptions{PlainHTTP: []string{host}})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			repository := host + "/stagex/core-a"
			subject := pushRandom(t, client, repository)
			const kind = "application/vnd.test+json"
			for _, document := range []string{`{"a":1}`, `{"b":2}`, `{"a":1}`} {
				if err := client.Attach(t.Context(), repository, subject, kind, []byte(document)); err != nil {
					t.Fatal(err)
				}
			}
			if err := client.Attach(t.Context(), repository, subject, "application/vnd.other", []byte("x")); err != nil {
				t.Fatal(err)
			}
			documents, err := client.Attached(t.Context(), repository, subject, kind, 100)
			if err != nil || len(documents) != 2 {
				t.Fatalf("%d documents, %v", len(documents), err)
			}
			both := documents[0].Data
			both = append(both, documents[1].Data...)
			if !bytes.Contains(both, []byte(`{"a":1}`)) || !bytes.Contains(both, []byte(`{"b":2}`)) {
				t.Errorf("they are %s", both)
			}
			if short, err := client.Attached(t.Context(), repository, subject, kind, 3); err != nil || short[0].Err == nil {
				t.Errorf("a document over the limit: %+v, %v", short, err)
			}
			none := oci.DigestOf([]byte("none"))
			if err := client.Attach(t.Context(), repository, none, kind, []byte("{}")); err == nil {
				t.Error("a document is attached to an image that is not there")
			}
			if documents, err := client.Attached(t.Context(), repository, none, kind, 100); err != nil || len(documents) != 0 {
				t.Errorf("of no image: %d, %v", len(documents), err)
			}
		})
	}
}

// pushRandom pushes an image and returns its digest.
func pushRandom(t *testing.T, client *preseed.Client, repository string) oci.Digest {
	t.Helper()
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	repo, opts, err := client.Remote(t.Context(), repository)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(repo.Digest(digest.String()), img, opts...); err != nil {
		t.Fatal(err)
	}
	d, err := oci.ParseDigest(digest.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}
