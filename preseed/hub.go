package preseed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// Hub is one repository of a registry through which engines exchange images. It is
// trusted as little as any registry: what comes from it is hashed before it is kept. It is
// safe for concurrent use.
type Hub struct {
	place Registry
	repo  name.Repository
	run   *run
	push  *Pusher
	plain atomic.Bool
}

// HubScheme begins the address of a hub, "oci://<host>/<repository>".
const HubScheme = "oci://"

// ParseHub parses "oci://<host>/<repository>", with the rules of [ParseRegistry].
func ParseHub(s string) (Registry, error) {
	rest, ok := strings.CutPrefix(s, HubScheme)
	if !ok {
		return Registry{}, fmt.Errorf("hub %q: want %s<host>/<repository>, such as %q", s, HubScheme, HubScheme+"registry.example:5000/hub")
	}
	r, err := ParseRegistry(rest)
	if err == nil {
		_, err = name.NewRepository(r.String(), name.StrictValidation)
	}
	if err != nil {
		return Registry{}, fmt.Errorf("hub %q: %w", s, err)
	}
	return r, nil
}

// HubError means that a hub cannot be used, or does not have what it should have.
type HubError struct {
	Hub string // "<host>/<repository>"
	Err error
}

func (e *HubError) Error() string { return fmt.Sprintf("the hub %s: %v", e.Hub, e.Err) }
func (e *HubError) Unwrap() error { return e.Err }

// NewHub returns the hub at a repository without connecting. It ignores opts.Registries.
// The caller closes it.
func NewHub(at Registry, opts Options) (*Hub, error) {
	repo, err := name.NewRepository(at.String(), name.StrictValidation)
	if err != nil {
		return nil, err
	}
	opts.Registries = []Registry{{Host: at.Host}}
	r, err := newRun(opts)
	if err != nil {
		return nil, err
	}
	push := NewPusher(r.client, PushOptions{Retries: r.opts.Retries, Backoff: r.opts.Backoff, Warn: r.opts.Client.Warn})
	return &Hub{place: at, repo: repo, run: r, push: push}, nil
}

// Close closes idle connections.
func (h *Hub) Close() { h.run.client.Close() }

// Host returns the hub's host, with its port.
func (h *Hub) Host() string { return h.repo.RegistryStr() }

// Repository returns "<host>/<repository>".
func (h *Hub) Repository() string { return h.place.String() }

// PlainHTTP reports whether the hub is contacted without TLS. It is known after [Hub.Check].
func (h *Hub) PlainHTTP() bool { return h.plain.Load() }

// Traffic returns the bytes of layers that this Hub received, and of blobs that it sent.
func (h *Hub) Traffic() (received, sent int64) { return h.run.bytes.Load(), h.push.Sent() }

func (h *Hub) failed(ctx context.Context, err error) error {
	var local *transfer.LocalError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &local):
		return local.Err
	}
	return &HubError{h.Repository(), err}
}

// ask calls do with the hub's repository, and again after temporary failures.
func (h *Hub) ask(ctx context.Context, do func(context.Context, *Repository) error) error {
	none := func() int64 { return 0 }
	_, err := h.run.rounds(ctx, h.run.manifests, h.image(), none, func(ctx context.Context, _ Registry, repo *Repository) error {
		return do(ctx, repo)
	})
	var said transfer.Attempts
	if errors.As(err, &said) && len(said) == 1 {
		err = said[0].Reason // of the one place
	}
	return h.failed(ctx, err)
}

func (h *Hub) image() Image { return Image{Output: h.place.Namespace} }

// Check asks the hub whether it answers, and whether engines can be given what it wants of
// them: nothing, or tokens.
func (h *Hub) Check(ctx context.Context) error {
	return h.ask(ctx, func(ctx context.Context, repo *Repository) error {
		scheme, err := repo.host.reach(ctx)
		if err != nil {
			return explain(ctx, h.repo, err)
		}
		h.plain.Store(scheme == "http")
		return repo.host.auth.givesTokens()
	})
}

// Document makes an index, a manifest or a config a shared blob. It asks the hub even if
// the blob is there, so that the hub is known to have it.
func (h *Hub) Document(ctx context.Context, d oci.Descriptor) error {
	var data []byte
	err := h.ask(ctx, func(ctx context.Context, repo *Repository) (err error) {
		if d.IsManifest() {
			data, _, err = repo.Manifest(ctx, d.Digest)
		} else {
			data, err = repo.document(ctx, d)
		}
		if err == nil && d.Size > 0 && int64(len(data)) != d.Size {
			err = transfer.Answerf("the document %s has %d bytes, not %d", d.Digest, len(data), d.Size)
		}
		return err
	})
	if err != nil {
		return err
	}
	return h.failed(ctx, h.run.keep(ctx, d.Digest, data))
}

// document returns the bytes of a small blob, which have its digest.
func (r *Repository) document(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxDocument {
		return nil, transfer.Answerf("the document %s claims %d bytes, above the limit of %d", d.Digest, d.Size, oci.MaxDocument)
	}
	resp, err := r.Blob(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxDocument+1))
	switch got := oci.DigestOf(data); {
	case got == d.Digest:
		return data, nil
	case err != nil:
		return nil, transfer.Plain(ctx, err)
	default:
		return nil, &transfer.HashError{What: "blob", Got: got.Sum(), Want: d.Digest.Sum(), Hint: transfer.Hint(resp)}
	}
}

// Has returns an error unless the hub says that it has a layer, with its size.
func (h *Hub) Has(ctx context.Context, d oci.Descriptor) error {
	return h.ask(ctx, func(ctx context.Context, repo *Repository) error { return repo.has(ctx, d) })
}

func (r *Repository) has(ctx context.Context, d oci.Descriptor) error {
	what := "the blob " + d.Digest.String()
	resp, err := r.send(ctx, "blobs/"+d.Digest.String(), func(http.Header) {}, func(req *http.Request) (*http.Response, error) {
		req.Method = http.MethodHead
		resp, err := r.retry.Do(req)
		if status, ok := err.(*transfer.StatusError); ok {
			return nil, refusal(r.name, status, what, err)
		}
		return resp, err
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.ContentLength >= 0 && resp.ContentLength != d.Size {
		return transfer.Answerf("%s has %d bytes, not %d", what, resp.ContentLength, d.Size)
	}
	return nil
}

// Layer makes a layer a shared blob: from out/ if an output there has it, else by
// downloading it.
func (h *Hub) Layer(ctx context.Context, d oci.Descriptor) error {
	if d.Size > h.run.opts.MaxBlob {
		return h.failed(ctx, fmt.Errorf("the layer %s claims %d bytes, above the limit of %d", d.Digest, d.Size, h.run.opts.MaxBlob))
	}
	p := &pull{run: h.run, img: h.image(), show: &transfer.Progress[string]{Status: h.run.status, Item: h.Repository(), Now: h.run.client.opts.Limits.Now}}
	err := p.blob(ctx, d)
	var said transfer.Attempts
	if errors.As(err, &said) && len(said) == 1 {
		err = said[0].Reason
	}
	return h.failed(ctx, err)
}

// Tagged returns the digest of the manifest or index that the hub has under a tag.
func (h *Hub) Tagged(ctx context.Context, tag string) (d oci.Digest, err error) {
	err = h.ask(ctx, func(ctx context.Context, repo *Repository) (err error) {
		_, d, _, err = repo.Tagged(ctx, tag)
		return err
	})
	return d, err
}

// Push pushes an image of out/ under a tag. Blobs that the hub has are not sent.
func (h *Hub) Push(ctx context.Context, img *cache.Image, tag string) error {
	_, err := h.push.Push(ctx, h.Repository(), ImageContents(img), []string{tag})
	var refused *PushError
	if errors.As(err, &refused) {
		return h.failed(ctx, fmt.Errorf("pushing %s: %w", img.Output, refused.Err))
	}
	return err
}

// Token asks the hub's token server for a token for an engine. Of the scopes that the
// engine asks for ("repository:<name>:pull,push"), it counts only those of the hub's
// repository, to pull and to push; refused lists the others. The engine chooses neither
// the token server nor the service: the hub does.
func (h *Hub) Token(ctx context.Context, scopes []string) (value string, life time.Duration, refused []string, err error) {
	wanted := scope{repository: h.repo.RepositoryStr()}
	var actions []string
	for _, s := range strings.Fields(strings.Join(scopes, " ")) {
		asked, ok := strings.CutPrefix(s, "repository:"+wanted.repository+":")
		if !ok {
			refused = append(refused, s)
			continue
		}
		for _, action := range strings.Split(asked, ",") {
			if action != "pull" && action != "push" {
				refused = append(refused, s)
			} else if !slices.Contains(actions, action) {
				actions = append(actions, action)
			}
		}
	}
	if len(actions) == 0 {
		return "", 0, refused, h.failed(ctx, fmt.Errorf("an engine asks for %q, and sx gives engines tokens only for %s", scopes, h.Repository()))
	}
	slices.Sort(actions)
	wanted.actions = strings.Join(actions, ",")
	var token Token
	err = h.ask(ctx, func(ctx context.Context, repo *Repository) (err error) {
		token, err = repo.host.auth.fresh(ctx, wanted)
		return err
	})
	return token.Value, token.Life, refused, err
}
