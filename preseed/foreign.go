package preseed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// Foreign is an image of another registry, which a definition names by digest.
type Foreign struct {
	Host       string     // "docker.io", "registry.example:5000"
	Repository string     // "library/debian"
	Digest     oci.Digest // of an image index, or of an image manifest
	Platforms  []oci.Platform
}

// String is "docker.io/library/debian@sha256:…".
func (f Foreign) String() string { return f.Host + "/" + f.Repository + "@" + f.Digest.String() }

// ForeignHostError means that the user does not allow images of a host.
type ForeignHostError struct{ Host string }

func (e *ForeignHostError) Error() string {
	return fmt.Sprintf("registries.foreign does not name %s, so nothing is pulled from it", e.Host)
}

// Puller pulls images of other registries into the shared blobs of a store. It contacts
// only the hosts that it was made for, over TLS, and sends a host's credentials to no
// other host. It is safe for concurrent use.
type Puller struct {
	hosts []string
	opts  Options

	mu     sync.Mutex
	byHost map[string]*run
	images transfer.KeyedMutex[oci.Digest]
}

// NewPuller returns a Puller for images of hosts, which are written as in references:
// "docker.io", "registry.example:5000". It ignores opts.Registries. The caller closes it.
func NewPuller(hosts []string, opts Options) *Puller {
	opts.Client.OnlyTLS, opts.Client.PlainHTTP = true, nil
	return &Puller{hosts: hosts, opts: opts, byHost: map[string]*run{}}
}

// Close closes idle connections.
func (p *Puller) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.byHost {
		r.client.Close()
	}
}

// host returns the run that all images of a host share, with its client and its state of
// the registry.
func (p *Puller) host(host string) (*run, error) {
	if !slices.Contains(p.hosts, host) {
		return nil, &ForeignHostError{host}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.byHost[host]; r != nil {
		return r, nil
	}
	opts := p.opts
	opts.Registries = []Registry{{Host: host}}
	r, err := newRun(opts)
	if err == nil {
		p.byHost[host] = r
	}
	return r, err
}

// Pull pulls the image for its platforms; see [cache.Store.Pulled]. It does not ask for
// complete blobs that the store has. If the image cannot be pulled, the error is an
// *Error; any other error is one of the settings or this machine, or ctx's cause.
func (p *Puller) Pull(ctx context.Context, f Foreign) error {
	r, err := p.host(f.Host)
	if err != nil {
		return err
	}
	unlock, err := p.images.Lock(ctx, f.Digest)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := p.opts.Store.Pulled(f.Digest, f.Platforms); err == nil {
		return nil
	}
	r.status.Tell(func(s Status) { s.Begin(1) })
	defer r.status.Tell(Status.End)
	img := Image{Output: f.Repository, Digest: f.Digest}
	if err = r.foreign(ctx, f, img); err != nil {
		return r.foreignFailure(ctx, img, err)
	}
	r.status.Tell(func(s Status) { s.Done(img.Output, Fetched) })
	return nil
}

// foreignFailure returns an *Error for a fault of a registry or the image, reports it to
// the status, and returns errors of this machine and ctx's cause as such.
func (r *run) foreignFailure(ctx context.Context, img Image, err error) error {
	var local *transfer.LocalError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &local):
		return local.Err
	}
	var said transfer.Attempts
	if !errors.As(err, &said) {
		said = transfer.Attempts{{Reason: err}}
	}
	failure := Failure{Image: img, Attempts: said}
	r.status.Tell(func(s Status) { s.Fail(img.Output, "", failure) })
	return &Error{[]Failure{failure}, 1}
}

// foreign pulls the documents and blobs of f's platforms, then checks the result like
// every later reader does.
func (r *run) foreign(ctx context.Context, f Foreign, img Image) error {
	p := &pull{run: r, img: img, show: &transfer.Progress[string]{Status: r.status, Item: img.Output, Now: r.client.opts.Limits.Now}}
	root, err := p.root(ctx, f.Digest)
	if err != nil {
		return err
	}
	for _, platform := range f.Platforms {
		m := root.Manifest
		if root.IsIndex() {
			if m, err = p.ofIndex(ctx, root, platform); err != nil {
				return err
			}
		}
		if err := p.contents(ctx, m, platform); err != nil {
			return err
		}
	}
	p.show.Finish()
	if _, err := r.opts.Store.Pulled(f.Digest, f.Platforms); errors.Is(err, fs.ErrNotExist) {
		return &transfer.LocalError{Err: fmt.Errorf("a shared blob is gone: %w", err)}
	} else if err != nil {
		return &imageError{err}
	}
	return nil
}

// root fetches the document whose digest the definition names.
func (p *pull) root(ctx context.Context, d oci.Digest) (root oci.Root, err error) {
	err = p.named(ctx, d, func(data []byte) (err error) {
		root, err = oci.ParseRoot(data)
		return err
	})
	return root, err
}

// ofIndex fetches the image manifest of an index for a platform.
func (p *pull) ofIndex(ctx context.Context, root oci.Root, platform oci.Platform) (m oci.ImageManifest, err error) {
	d, err := root.Image(platform)
	if err != nil {
		return m, &imageError{err}
	}
	err = p.named(ctx, d.Digest, func(data []byte) (err error) {
		if int64(len(data)) != d.Size {
			return fmt.Errorf("the manifest %s has %d bytes, the image index says %d", d.Digest, len(data), d.Size)
		}
		m, err = oci.ParseForeign(data, d.MediaType)
		return err
	})
	return m, err
}

// named fetches a document by its digest, from this machine or from the registry, and
// calls take with it. The document is kept only if take returns nil. The digest matches,
// so an error of take is a fault of the image.
func (p *pull) named(ctx context.Context, d oci.Digest, take func([]byte) error) error {
	r := p.run
	unlock, err := r.blobs.Lock(ctx, d)
	if err != nil {
		return err
	}
	defer unlock()
	if path, ok := r.local.find(ctx, d); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return &transfer.LocalError{Err: err}
		}
		if err := take(data); err != nil {
			return &imageError{err}
		}
		return nil
	}
	var data []byte
	none := func() int64 { return 0 }
	if _, err := r.rounds(ctx, r.manifests, p.img, none, func(ctx context.Context, _ Registry, repo *Repository) (err error) {
		data, _, err = repo.Manifest(ctx, d)
		return err
	}); err != nil {
		return err
	}
	if err := take(data); err != nil {
		return &imageError{err}
	}
	return r.keep(ctx, d, data)
}

// contents fetches the config and the layers of an image manifest.
func (p *pull) contents(ctx context.Context, m oci.ImageManifest, platform oci.Platform) error {
	blobs, err := m.Blobs()
	if err == nil {
		err = p.run.bounded(m, blobs)
	}
	if err != nil {
		return &imageError{err}
	}
	if err := p.blob(ctx, m.Config); err != nil {
		return err
	}
	path, err := p.run.opts.Store.BlobPath(m.Config.Digest)
	if err != nil {
		return &transfer.LocalError{Err: err}
	}
	config, err := os.ReadFile(path)
	if err != nil {
		return &transfer.LocalError{Err: err}
	}
	if err := m.CheckConfig(config, platform); err != nil {
		return &imageError{err}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(layersAtOnce)
	for _, d := range blobs {
		g.Go(func() error { return p.blob(ctx, d) })
	}
	return g.Wait()
}

// bounded refuses an image whose claimed sizes exceed the limits, before it is
// downloaded: the tree chooses the image, and could choose one that fills the disk.
func (r *run) bounded(m oci.ImageManifest, blobs []oci.Descriptor) error {
	if m.Config.Size > oci.MaxDocument {
		return fmt.Errorf("its config claims %d bytes, above the limit of %d", m.Config.Size, oci.MaxDocument)
	}
	var sum int64
	for _, d := range blobs {
		if d.Size > r.opts.MaxBlob-sum {
			return fmt.Errorf("its layers claim more than %d bytes in total", r.opts.MaxBlob)
		}
		sum += d.Size
	}
	return nil
}
