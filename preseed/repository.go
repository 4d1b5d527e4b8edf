package preseed

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// Repository is a repository to pull from.
type Repository struct {
	client *Client
	host   *host
	name   name.Repository
	retry  transfer.Client
}

// Repository returns the repository "<host>/<namespace>/<name>", and fails if the
// registry does not answer. Its requests are not retried; see [Repository.Retrying].
func (c *Client) Repository(ctx context.Context, repository string) (*Repository, error) {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil {
		return nil, err
	}
	h := c.host(repo.Registry)
	r := &Repository{client: c, host: h, name: repo, retry: transfer.Client{
		HTTP:    &http.Client{Transport: h.auth, CheckRedirect: checkRedirect},
		Backoff: transfer.Exponential, Now: c.opts.Limits.Now, Said: said,
	}}
	release, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := h.reach(ctx); err != nil {
		return nil, explain(ctx, repo, err)
	}
	return r, nil
}

// Retrying returns a copy whose requests are retried after temporary failures. A nil
// backoff is transfer.Exponential.
func (r *Repository) Retrying(retries int, backoff func(n int) time.Duration) *Repository {
	other := *r
	other.retry.Retries = retries
	if backoff != nil {
		other.retry.Backoff = backoff
	}
	return &other
}

// acquire waits for one of the registry's slots.
func (r *Repository) acquire(ctx context.Context) (release func(), err error) {
	slot, err := r.client.slots.Acquire(ctx, r.name.RegistryStr(), 0, nil)
	return slot.Release, err
}

// manifestTypes are the media types to accept for a manifest. Indexes are included, so
// that the error can say that there is an index instead of an image.
var manifestTypes = []string{
	oci.MediaTypeManifest, "application/vnd.docker.distribution.manifest.v2+json",
	oci.MediaTypeIndex, "application/vnd.docker.distribution.manifest.list.v2+json",
}

// Manifest returns the bytes of a manifest or index, which have the digest, and the
// media type that the registry announced them as.
func (r *Repository) Manifest(ctx context.Context, d oci.Digest) (data []byte, mediaType string, err error) {
	resp, err := r.get(ctx, "manifests/"+d.String(), "the image "+d.String(), func(h http.Header) {
		h.Set("Accept", strings.Join(manifestTypes, ", "))
	})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(io.LimitReader(resp.Body, oci.MaxDocument+1))
	got := oci.DigestOf(data)
	switch {
	case got == d: // then the headers and the end of the answer do not matter
		return data, transfer.MediaType(resp), nil
	case resp.ContentLength > oci.MaxDocument:
		return nil, "", transfer.Answerf("the manifest claims %d bytes, above the limit of %d", resp.ContentLength, oci.MaxDocument)
	case err != nil:
		return nil, "", transfer.Plain(ctx, err)
	case len(data) > oci.MaxDocument:
		return nil, "", transfer.Answerf("the manifest has more than %d bytes", oci.MaxDocument)
	}
	return nil, "", &transfer.HashError{What: "manifest", Got: got.Sum(), Want: d.Sum(), Hint: transfer.Hint(resp)}
}

// Blob requests the bytes of a blob from offset on. It returns the registry's answer
// unchecked: transfer.Download checks its headers and body.
func (r *Repository) Blob(ctx context.Context, d oci.Descriptor, offset int64) (*http.Response, error) {
	return r.get(ctx, "blobs/"+d.Digest.String(), "the blob "+d.Digest.String(), func(h http.Header) {
		if offset > 0 {
			h.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1))
		}
	})
}

// get sends a GET request. It holds one of the host's slots until the body is closed.
func (r *Repository) get(ctx context.Context, path, what string, header func(http.Header)) (*http.Response, error) {
	return r.send(ctx, path, header, func(req *http.Request) (*http.Response, error) {
		resp, err := r.retry.Do(req)
		if status, ok := err.(*transfer.StatusError); ok { // the registry's own, not its token server's
			return nil, refusal(r.name, status, what, err)
		}
		return resp, err
	})
}

func (r *Repository) send(ctx context.Context, path string, header func(http.Header), do func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	release, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	scheme, err := r.host.reach(ctx)
	if err != nil {
		release()
		return nil, explain(ctx, r.name, err)
	}
	url := fmt.Sprintf("%s://%s/v2/%s/%s", scheme, r.name.RegistryStr(), r.name.RepositoryStr(), path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		release()
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // also keeps net/http from unpacking
	header(req.Header)
	resp, err := do(req)
	if err != nil {
		release()
		return nil, explain(ctx, r.name, err)
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
