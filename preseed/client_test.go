package preseed

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

func newClient(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	if o.Keychain == nil {
		o.Keychain = anonymous{}
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientReadsManifestsAndBlobs(t *testing.T) {
	s := newServer(t)
	img := s.publish("core-a", noise(1, 1000))
	repo, err := newClient(t, ClientOptions{}).Repository(t.Context(), s.registry().Repository("core-a"))
	if err != nil {
		t.Fatal(err)
	}
	data, mediaType, err := repo.Manifest(t.Context(), img.digest())
	if err != nil || string(data) != string(img.manifest) || mediaType != oci.MediaTypeManifest {
		t.Fatalf("manifest is %q, %q, %v", data, mediaType, err)
	}
	for _, offset := range []int64{0, 400} {
		resp, err := repo.Blob(t.Context(), oci.Descriptor{Digest: img.layers[0], Size: 1000}, offset)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != string(noise(1, 1000)[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
		}
	}
	_, _, err = repo.Manifest(t.Context(), oci.DigestOf(nil))
	var missing *NotFoundError
	if !errors.As(err, &missing) {
		t.Errorf("error is %v, want a NotFoundError", err)
	}
}

// go-containerregistry would speak plain HTTP to private addresses by itself.
func TestPlainHTTP(t *testing.T) {
	for _, c := range []struct {
		host  string
		plain []string
		ok    bool
	}{
		{"127.0.0.1:5000", nil, true},
		{"localhost:5000", nil, true},
		{"[::1]:5000", nil, true},
		{"10.0.0.7:5000", nil, false},
		{"192.168.1.2", nil, false},
		{"172.16.0.1:5000", nil, false},
		{"registry.local", nil, false},
		{"registry.example", nil, false},
		{"10.0.0.7:5000", []string{"10.0.0.7:5000"}, true},
		{"10.0.0.7:5000", []string{"10.0.0.7"}, true},
		{"10.0.0.7:5000", []string{"10.0.0.7:5001"}, false},
		{"registry.example", []string{"registry.example"}, true},
	} {
		t.Run(c.host, func(t *testing.T) {
			client := newClient(t, ClientOptions{PlainHTTP: c.plain})
			var plain atomic.Int32
			repo, err := name.NewRepository(c.host + "/stagex/core-a")
			if err != nil {
				t.Fatal(err)
			}
			// No TLS answers, so that whoever falls back does so now.
			client.host(repo.Registry).transport.base = transportFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Scheme == "https" {
					return nil, http.ErrSchemeMismatch
				}
				plain.Add(1)
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
			})
			_, err = client.Repository(t.Context(), c.host+"/stagex/core-a")
			if c.ok != (err == nil) || c.ok != (plain.Load() > 0) {
				t.Errorf("%d plain requests, error %v", plain.Load(), err)
			}
		})
	}
}

// Nor may what pushes with go-containerregistry's own code fall back.
func TestPlainHTTPOfRemote(t *testing.T) {
	client := newClient(t, ClientOptions{})
	repo, opts, err := client.Remote(t.Context(), "10.0.0.7:5000/stagex/core-a")
	if err != nil {
		t.Fatal(err)
	}
	client.host(repo.Registry).transport.base = transportFunc(func(req *http.Request) (*http.Response, error) {
		if req.URL.Scheme == "http" {
			t.Errorf("a plain request to %s", req.URL)
		}
		return nil, http.ErrSchemeMismatch
	})
	_, err = remote.List(repo, opts...)
	wantError(t, err, "refusing plain http to 10.0.0.7:5000")
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestCAFile(t *testing.T) {
	s := newTLSServer(t)
	img := s.publish("core-a", noise(1, 10))
	repository := s.registry().Repository("core-a")

	_, err := newClient(t, ClientOptions{}).Repository(t.Context(), repository)
	wantError(t, err, "certificate signed by unknown authority; registries.ca_file")

	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	repo, err := newClient(t, ClientOptions{CAFile: file}).Repository(t.Context(), repository)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := repo.Manifest(t.Context(), img.digest()); err != nil {
		t.Error(err)
	}
}

// A file of certificates that cannot be one is refused: sx neither waits for the
// writer of a pipe nor reads without a limit.
func TestCAFileRefused(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(large, nil, 0o600), os.Truncate(large, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory",
		pipe:                       "it is not a regular file",
		dir:                        "it is not a regular file",
		"/dev/zero":                "it is not a regular file",
		large:                      "it has more than 4194304 bytes",
	} {
		_, err := NewClient(ClientOptions{CAFile: file})
		wantError(t, err, fmt.Sprintf("reading registries.ca_file %q: %s", file, want))
	}
}

// Redirects are followed, but not to plain HTTP, and without credentials.
func TestRedirects(t *testing.T) {
	var got []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, fmt.Sprint(r.Header["Authorization"], r.Header["Referer"], r.Header["Cookie"]))
		w.Write(noise(1, 10))
	}))
	defer elsewhere.Close()
	d := oci.Descriptor{Digest: oci.DigestOf(noise(1, 10)), Size: 10}

	s := newServer(t)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if user, _, ok := r.BasicAuth(); !ok || user != "me" {
			w.Header().Set("WWW-Authenticate", "Basic realm=x")
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, elsewhere.URL+"/x?signature=1", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	repo, err := newClient(t, ClientOptions{Keychain: me{}}).Repository(t.Context(), s.registry().Repository("core-a"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := repo.Blob(t.Context(), d, 0)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := "[] [] []"; len(got) != 1 || got[0] != want {
		t.Errorf("the other host got %q, want %q", got, want)
	}

	tls := newTLSServer(t)
	tls.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return true
		}
		return false
	})
	client := newClient(t, ClientOptions{})
	client.base.TLSClientConfig = tls.Client().Transport.(*http.Transport).TLSClientConfig
	if repo, err = client.Repository(t.Context(), tls.registry().Repository("core-a")); err != nil {
		t.Fatal(err)
	}
	_, err = repo.Blob(t.Context(), d, 0)
	wantError(t, err, "redirect refused: from https to http")
	if len(got) != 1 {
		t.Errorf("the redirect was followed")
	}
}

// me is credentials for every registry.
type me struct{}

func (me) Find(context.Context, string, string) Credentials {
	return Credentials{Username: "me", Password: "secret"}
}

// A token is asked for once a repository, with the credentials, and the registry
// itself never sees those.
func TestBearer(t *testing.T) {
	s := newServer(t)
	img := s.publish("core-a", noise(1, 10))
	tokens := 0
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, basic := r.BasicAuth()
		switch {
		case r.URL.Path == "/token":
			tokens++
			if user != "me" || password != "secret" || r.URL.Query().Get("scope") != "repository:stagex/core-a:pull" {
				t.Errorf("token server got %q %q %v", user, password, r.URL.Query())
			}
			fmt.Fprint(w, `{"access_token":"open sesame"}`)
			return true
		case basic:
			t.Errorf("the registry got the password")
		case r.Header.Get("Authorization") == "Bearer open sesame":
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, s.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	repo, err := newClient(t, ClientOptions{Keychain: me{}}).Repository(t.Context(), s.registry().Repository("core-a"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := repo.Manifest(t.Context(), img.digest()); err != nil {
			t.Fatal(err)
		}
	}
	if tokens != 1 {
		t.Errorf("%d tokens, want 1", tokens)
	}
}

func TestLimits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after string
		want  time.Duration
	}{
		{"", 0}, {"90", 90 * time.Second}, {"Sun, 01 Mar 2026 13:00:00 GMT", time.Hour},
		{fmt.Sprint(now.Add(2 * time.Hour).Unix()), 2 * time.Hour}, {"-3", 0}, {"soon", 0},
	} {
		s := newServer(t)
		s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			w.Header().Set("RateLimit-Limit", "100;w=21600")
			w.Header().Set("RateLimit-Remaining", "0;w=21600")
			w.Header().Set("Retry-After", c.after)
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		repo, err := newClient(t, ClientOptions{Limits: transfer.Limits{Now: func() time.Time { return now }}}).Repository(t.Context(), s.registry().Repository("a"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = repo.Manifest(t.Context(), oci.DigestOf(nil))
		var limit *LimitError
		if !errors.As(err, &limit) || limit.After != c.want || limit.Quota != (Quota{100, 0, 6 * time.Hour}) {
			t.Errorf("Retry-After %q: %#v", c.after, err)
		}
		wantError(t, err, "0 of 100 pulls left in 6h0m0s")
	}
}

func TestParseRegistry(t *testing.T) {
	for _, s := range []string{"docker.io/stagex", "quay.io/a/b", "localhost/x", "127.0.0.1:5000/x"} {
		r, err := ParseRegistry(s)
		if err != nil || r.String() != s {
			t.Errorf("%q: %q, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "docker.io", "stagex/core", "docker.io/", "/x", "docker.io/UPPER", "https://docker.io/stagex", "docker.io/a:1"} {
		if r, err := ParseRegistry(s); err == nil {
			t.Errorf("%q is %v", s, r)
		}
	}
}
