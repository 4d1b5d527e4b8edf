package preseed

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// SourceScheme is the scheme of a repository used as a mirror of sources:
// "oci://<host>/<repository>". A source is the blob with the source's sha256, so any
// registry can be used, and its answer can be checked.
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

// SourcePrefix returns the start of the URL of a source, for SourceTransport. Its
// sha256, 64 hexadecimal digits, follows.
func SourcePrefix(repository string) string { return SourceScheme + "://" + repository + "@sha256:" }

// SourceTransport returns a transport for GET requests with URLs of SourcePrefix. It uses
// the client's credentials, certificates and rules for redirects. The caller hashes the
// answer. Errors are classed by transfer.OutcomeOf.
func (c *Client) SourceTransport() http.RoundTripper { return &sourceTransport{client: c} }

type sourceTransport struct{ client *Client }

// passed are the headers that a request for a blob keeps.
var passed = []string{"Range", "If-Range", "Accept"}

func (t *sourceTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	name, digest, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "@")
	d, err := oci.ParseDigest(digest)
	if req.Method != http.MethodGet || req.URL.Scheme != SourceScheme || !ok || err != nil {
		return nil, transfer.Answerf("%s %s is not a request for a source", req.Method, req.URL.Redacted())
	}
	resp, err := t.blob(req.Context(), req.URL.Host+"/"+name, d, req.Header)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	return resp, nil
}

func (t *sourceTransport) blob(ctx context.Context, name string, d oci.Digest, header http.Header) (*http.Response, error) {
	repo, err := t.client.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	resp, err := repo.send(ctx, "blobs/"+d.String(), func(h http.Header) {
		for _, key := range passed {
			if value := header.Get(key); value != "" {
				h.Set(key, value)
			}
		}
	}, repo.retry.HTTP.Do)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		defer resp.Body.Close()
		return nil, &DeniedError{Host: repo.name.RegistryStr(), Repository: repo.name.RepositoryStr(), Code: resp.StatusCode, Said: said(resp)}
	}
	return resp, nil
}
