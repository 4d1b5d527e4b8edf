package preseed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"codeberg.org/stagex/sx/cache"
)

// Repository is one repository of a registry, to pull from.
type Repository struct {
	client *Client
	name   name.Repository
	scheme string
	http   *http.Client
}

// Repository opens "<host>/<namespace>/<name>" and authenticates.
func (c *Client) Repository(ctx context.Context, repository string) (*Repository, error) {
	repo, err := c.name(repository)
	if err != nil {
		return nil, err
	}
	release, err := c.host(repo.Registry).acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	t, challenge, err := c.authenticated(ctx, repo, transport.PullScope)
	if err != nil {
		return nil, c.explain(ctx, repo, err)
	}
	r := &Repository{client: c, name: repo, scheme: "https", http: &http.Client{Transport: t, CheckRedirect: checkRedirect}}
	if challenge.Insecure {
		r.scheme = "http"
	}
	return r, nil
}

// acquire waits for one of the host's slots.
func (h *host) acquire(ctx context.Context) (release func(), err error) {
	select {
	case h.slots <- struct{}{}:
		var once sync.Once
		return func() { once.Do(func() { <-h.slots }) }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// maxRedirects is what browsers and registries' clients follow.
const maxRedirects = 10

// checkRedirect follows ten redirects, and none from https to http. Credentials do
// not travel: go-containerregistry gives them to the registry's own host only.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &RedirectError{fmt.Sprintf("more than %d", maxRedirects)}
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &RedirectError{fmt.Sprintf("from https to %s", req.URL.Scheme)}
	}
	if req.URL.User != nil {
		return &RedirectError{"its URL has credentials"}
	}
	req.Header.Del("Referer")
	return nil
}

// manifestTypes is what a manifest may be announced as. Indexes are asked for too,
// so that it can be said that there is one where an image belongs.
var manifestTypes = []string{
	cache.MediaTypeManifest, "application/vnd.docker.distribution.manifest.v2+json",
	cache.MediaTypeIndex, "application/vnd.docker.distribution.manifest.list.v2+json",
}

// Manifest returns the bytes of a manifest or index, which have the digest, and the
// media type that the registry announced them as.
func (r *Repository) Manifest(ctx context.Context, d cache.Digest) (data []byte, mediaType string, err error) {
	resp, err := r.get(ctx, "manifests/"+d.String(), func(h http.Header) { h.Set("Accept", strings.Join(manifestTypes, ", ")) })
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", r.refused(resp, "the image "+d.String())
	}
	if err := checkEncoding(resp); err != nil {
		return nil, "", err
	}
	if resp.ContentLength > cache.MaxDocument {
		return nil, "", answerf("the manifest is said to have %d bytes, above the limit of %d", resp.ContentLength, cache.MaxDocument)
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, cache.MaxDocument+1))
	if err != nil {
		return nil, "", plain(ctx, err)
	}
	if len(data) > cache.MaxDocument {
		return nil, "", answerf("the manifest does not end: it has more than %d bytes", cache.MaxDocument)
	}
	if got := cache.DigestOf(data); got != d {
		if page := webPage(resp); page != nil {
			return nil, "", page
		}
		return nil, "", &cache.DigestMismatchError{Ref: "the manifest", Got: got, Want: d}
	}
	return data, mediaTypeOf(resp), nil
}

// Blob asks for a blob of exactly size bytes from offset on. The body begins at
// from, which is offset or, where the registry cannot do that, 0; it ends with an
// error where it has more bytes than that leaves or less. It is not hashed: the
// caller does. Close it.
func (r *Repository) Blob(ctx context.Context, d cache.Descriptor, offset int64) (body io.ReadCloser, from int64, err error) {
	resp, err := r.get(ctx, "blobs/"+d.Digest.String(), func(h http.Header) {
		if offset > 0 {
			h.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1))
		}
	})
	if err != nil {
		return nil, 0, err
	}
	if from, err = r.agree(resp, d, offset); err != nil {
		resp.Body.Close()
		return nil, 0, err
	}
	return &exactBody{ReadCloser: resp.Body, ctx: ctx, left: d.Size - from, size: d.Size}, from, nil
}

// get holds one of the host's slots until the body is closed.
func (r *Repository) get(ctx context.Context, path string, header func(http.Header)) (*http.Response, error) {
	release, err := r.client.host(r.name.Registry).acquire(ctx)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("%s://%s/v2/%s/%s", r.scheme, r.name.RegistryStr(), r.name.RepositoryStr(), path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		release()
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // also keeps net/http from unpacking
	header(req.Header)
	resp, err := r.http.Do(req)
	if err != nil {
		release()
		return nil, r.client.explain(ctx, r.name, err)
	}
	resp.Body = &releasing{resp.Body, release}
	return resp, nil
}

type releasing struct {
	io.ReadCloser
	release func()
}

func (b *releasing) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

func (b *exactBody) short(err error) error {
	return fmt.Errorf("the blob breaks off after %d of its %d bytes: %w", b.size-b.left, b.size, err)
}

// exactBody ends as the descriptor says, or with an error.
type exactBody struct {
	io.ReadCloser
	ctx        context.Context
	left, size int64
}

func (b *exactBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		return 0, answerf("the blob does not end after its %d bytes", b.size)
	case err == io.EOF && b.left > 0:
		return n, b.short(io.ErrUnexpectedEOF)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, b.short(err)
	case err != nil && err != io.EOF:
		return n, plain(b.ctx, err)
	}
	return n, err
}
