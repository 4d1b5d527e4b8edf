package preseed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"codeberg.org/stagex/sx/cache"
)

// SourceScheme is that of a registry's repository as a mirror of sources:
// "oci://<host>/<repository>". A source is the blob with its sha256, so that any
// registry serves, and none can lie.
const SourceScheme = "oci"

// ParseSources parses "oci://<host>/<repository>" and returns the repository's
// full name.
func ParseSources(s string) (repository string, err error) {
	rest, ok := strings.CutPrefix(s, SourceScheme+"://")
	if !ok {
		return "", fmt.Errorf("mirror %q: want oci://<host>/<repository>, such as %q", s, "oci://registry.example/stagex/sources")
	}
	r, err := ParseRegistry(rest)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

// SourcePrefix with a sha256 in 64 hexadecimal digits behind it is the URL of a
// source that SourceTransport carries requests for.
func SourcePrefix(repository string) string { return SourceScheme + "://" + repository + "@sha256:" }

// SourceTransport carries GET requests for the URLs of SourcePrefix: it knows what
// the client knows of credentials, certificates and redirects. The answer is the
// registry's, not hashed. An error that another try would not cure has Final.
func (c *Client) SourceTransport() http.RoundTripper { return &sourceTransport{client: c} }

type sourceTransport struct {
	client *Client
	repos  repositories
}

// passed are the headers that a request for a blob keeps.
var passed = []string{"Range", "If-Range", "Accept"}

func (t *sourceTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	name, digest, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "@")
	d, err := cache.ParseDigest(digest)
	if req.Method != http.MethodGet || req.URL.Scheme != SourceScheme || !ok || err != nil {
		return nil, finalError{fmt.Errorf("%s %s is no request for a source", req.Method, req.URL.Redacted())}
	}
	resp, err := t.blob(req.Context(), req.URL.Host+"/"+name, d, req.Header)
	if err != nil {
		return nil, finalOrNot(err)
	}
	resp.Request = req
	return resp, nil
}

func (t *sourceTransport) blob(ctx context.Context, name string, d cache.Digest, header http.Header) (*http.Response, error) {
	repo, err := t.repos.named(ctx, t.client, name)
	if err != nil {
		return nil, err
	}
	resp, err := repo.get(ctx, "blobs/"+d.String(), func(h http.Header) {
		for _, key := range passed {
			if value := header.Get(key); value != "" {
				h.Set(key, value)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		defer resp.Body.Close()
		return nil, repo.refused(resp, "the source "+d.String())
	}
	return resp, nil
}

// finalError marks what another try would not cure.
type finalError struct{ error }

func (e finalError) Final() bool   { return true }
func (e finalError) Unwrap() error { return e.error }

func finalOrNot(err error) error {
	var (
		denied   *DeniedError
		http     *PlainHTTPError
		redirect *RedirectError
		none     *NotFoundError
	)
	if errors.As(err, &denied) || errors.As(err, &http) || errors.As(err, &redirect) || errors.As(err, &none) || certificate(err) != nil {
		return finalError{err}
	}
	return err
}
