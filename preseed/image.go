package preseed

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// image puts one image into out/ and returns how: [Present], [Linked], [Fetched] or
// [Kept].
func (r *run) image(ctx context.Context, img Image) (how string, err error) {
	began := r.client.opts.Limits.Now()
	if how := r.there(img); how != "" { // also while another sx works on it
		return how, nil
	}
	lock, err := r.lock(ctx, img.Output)
	if err != nil {
		return "", r.broken(ctx, err)
	}
	defer lock.Unlock()
	if how := r.there(img); how != "" {
		return how, nil
	}
	p := &pull{run: r, img: img, show: &transfer.Progress[string]{Status: r.status, Item: img.Output, Now: r.client.opts.Limits.Now}}
	if err := p.manifest(ctx); err != nil {
		return "", err
	}
	if err := p.config(ctx); err != nil {
		return "", err
	}
	if err := p.layers(ctx); err != nil {
		return "", err
	}
	p.show.Finish()
	if err := p.commit(ctx, began); err != nil {
		return "", err
	}
	if p.from == "" {
		return Linked, nil
	}
	return Fetched, nil
}

// lockEvery is the interval between attempts to take the lock of an output.
const lockEvery = 50 * time.Millisecond

func (r *run) lock(ctx context.Context, output string) (*cache.OutputLock, error) {
	for told := false; ; told = true {
		lock, err := r.opts.Store.TryLock(output)
		var held *cache.LockedError
		if !errors.As(err, &held) {
			return lock, err
		}
		if !told {
			r.status.Tell(func(s Status) { s.Warn(held.Error() + ": waiting for it") })
		}
		if err := transfer.Pause(ctx, lockEvery); err != nil {
			return nil, err
		}
	}
}

// there returns Present if the image is in out/ and matches its record, Kept if out/ has
// a different image that was built here, else "".
func (r *run) there(img Image) string {
	l, err := r.opts.Store.Check(img.Output)
	if err != nil {
		return ""
	}
	if rec, err := r.opts.Store.Record(img.Output); err == nil && rec.Exact(l) == nil && l.Digest() == img.Digest &&
		oci.SamePlatform(l.Manifests[0].Platform, img.Platform) {
		return Present
	}
	if proof, ok := r.opts.Store.Proof(img.Output, l.Digest()); ok && proof.Exact(l) == nil && l.Digest() != img.Digest {
		return Kept
	}
	return ""
}

// pull is the download of one image.
type pull struct {
	run  *run
	img  Image
	show *transfer.Progress[string]

	top   oci.Descriptor // of the image manifest
	image oci.ImageManifest

	mu   sync.Mutex
	from string // the first registry that sent something; "" if none has
}

// manifest fetches and checks the image manifest.
func (p *pull) manifest(ctx context.Context) error {
	data, mediaType, err := p.document(ctx, p.img.Digest)
	if err != nil {
		return err
	}
	if p.image, err = oci.ParseManifest(data, mediaType); err != nil {
		return &imageError{err}
	}
	p.top = oci.Descriptor{MediaType: p.image.MediaType, Digest: p.img.Digest, Size: int64(len(data))}
	return p.check()
}

// document reads the manifest from this machine or from a registry, and keeps it.
func (p *pull) document(ctx context.Context, d oci.Digest) (data []byte, mediaType string, err error) {
	r := p.run
	unlock, err := r.blobs.Lock(ctx, d)
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	if path, ok := r.local.find(ctx, d); ok {
		data, err = os.ReadFile(path)
		return data, "", err
	}
	none := func() int64 { return 0 }
	reg, err := r.rounds(ctx, r.manifests, p.img, none, func(ctx context.Context, _ Registry, repo *Repository) (err error) {
		if data, mediaType, err = repo.Manifest(ctx, d); err != nil {
			return err
		}
		return misnamed(data, mediaType)
	})
	if err != nil {
		return nil, "", err
	}
	if _, err := oci.ParseManifest(data, mediaType); err != nil {
		return data, mediaType, nil // manifest reports the error; the document is not kept
	}
	p.came(reg)
	return data, mediaType, r.keep(ctx, d, data)
}

// misnamed returns an error if a manifest is valid but the registry announced it with
// the wrong media type: the next registry may do better.
func misnamed(data []byte, mediaType string) error {
	_, err := oci.ParseManifest(data, mediaType)
	if err == nil {
		return nil
	}
	if _, other := oci.ParseManifest(data, ""); other != nil {
		return nil // a fault of the image, which is the same everywhere
	}
	return &transfer.AnswerError{Reason: shorten(err.Error())}
}

// partial opens the file that a blob is received into. It waits while another sx
// receives the same blob.
func (r *run) partial(ctx context.Context, d oci.Digest) (*cache.Partial, error) {
	return r.opts.Store.Partial(ctx, d, func() {
		r.status.Tell(func(s Status) {
			s.Warn(fmt.Sprintf("another sx is receiving the blob %s: waiting for it; Ctrl-C ends only this sx", d))
		})
	})
}

// keep stores data, whose digest is d, as a shared blob.
func (r *run) keep(ctx context.Context, d oci.Digest, data []byte) error {
	part, err := r.partial(ctx, d)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return r.broken(ctx, err)
	}
	defer part.Close()
	if err := part.Reset(); err != nil {
		return &transfer.LocalError{Err: err}
	}
	if _, err := part.Write(data); err != nil {
		return &transfer.LocalError{Err: err}
	}
	if err := part.Finish(); err != nil {
		return &transfer.LocalError{Err: err}
	}
	return nil
}

// broken returns ctx's cause if ctx has ended, else err as an error of this machine.
func (r *run) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &transfer.LocalError{Err: err}
}

func (p *pull) came(reg Registry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from = cmp.Or(p.from, reg.String())
}

// check refuses a manifest unlike that of a build, before its blobs are downloaded.
func (p *pull) check() error {
	refuse := func(format string, args ...any) error { return &imageError{fmt.Errorf(format, args...)} }
	if p.image.MediaType != oci.MediaTypeManifest {
		return refuse("its manifest is a %q, that of a build is a %q", p.image.MediaType, oci.MediaTypeManifest)
	}
	if t := p.image.Config.MediaType; t != oci.MediaTypeConfig {
		return refuse("its config is a %q, that of a build is a %q", t, oci.MediaTypeConfig)
	}
	if size := p.image.Config.Size; size > oci.MaxDocument {
		return refuse("its config claims %d bytes, above the limit of %d", size, oci.MaxDocument)
	}
	for _, l := range p.image.Layers {
		if l.MediaType != oci.MediaTypeLayer {
			return refuse("its layer %s is a %q, those of a build are %q", l.Digest, l.MediaType, oci.MediaTypeLayer)
		}
		if l.Size > p.run.opts.MaxBlob {
			return refuse("its layer %s claims %d bytes, above the limit of %d", l.Digest, l.Size, p.run.opts.MaxBlob)
		}
	}
	if _, err := p.image.Blobs(); err != nil {
		return refuse("%w", err)
	}
	return nil
}

// config fetches the image config and checks it against the manifest and the wanted
// platform.
func (p *pull) config(ctx context.Context) error {
	if err := p.blob(ctx, p.image.Config); err != nil {
		return err
	}
	path, err := p.run.opts.Store.BlobPath(p.image.Config.Digest)
	if err != nil {
		return &transfer.LocalError{Err: err}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return &transfer.LocalError{Err: err}
	}
	platform, layers, err := oci.ParseConfig(data)
	switch {
	case err != nil:
		return &imageError{err}
	case layers != len(p.image.Layers):
		return &imageError{fmt.Errorf("its manifest names %d layers, its config %d", len(p.image.Layers), layers)}
	case !oci.SamePlatform(platform, p.img.Platform):
		return &imageError{fmt.Errorf("the published image is for %s, not for %s", platform, p.img.Platform)}
	}
	p.img.Platform = platform
	return nil
}

// layers fetches the layers, several at once.
func (p *pull) layers(ctx context.Context) error {
	blobs, err := p.image.Blobs()
	if err != nil {
		return &imageError{err}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(layersAtOnce)
	for _, d := range blobs {
		g.Go(func() error { return p.blob(ctx, d) })
	}
	return g.Wait()
}

// commit writes out/<output>, byte for byte like a build, and the record.
func (p *pull) commit(ctx context.Context, began time.Time) error {
	store := p.run.opts.Store
	manifest := oci.Manifest{Digest: p.top.Digest, Size: p.top.Size, Platform: p.img.Platform}
	index, top, err := oci.ImageIndex(manifest)
	if err != nil {
		return &imageError{err}
	}
	into, err := store.Stage(p.img.Output)
	if err != nil {
		return &transfer.LocalError{Err: err}
	}
	defer into.Close()
	if err := into.WriteBlob(top.Digest, top.Size, bytes.NewReader(index)); err != nil {
		return &transfer.LocalError{Err: err}
	}
	blobs, err := p.image.Blobs()
	if err != nil {
		return &imageError{err}
	}
	for _, d := range append(blobs, p.top) {
		if !into.Has(d.Digest) {
			return &transfer.LocalError{Err: fmt.Errorf("the shared blob %s is gone", d.Digest)}
		}
	}
	version := cmp.Or(p.image.Version, p.img.Version, "latest")
	l, err := into.Commit(ctx, top, oci.IndexAnnotations(p.img.Output, version))
	if err != nil {
		return p.run.broken(ctx, err)
	}
	if err := store.PutRecord(p.record(l, began)); err != nil {
		return &transfer.LocalError{Err: err}
	}
	return nil
}

// record returns the record of the layout: where it came from, or, if the same image was
// once built here, the proof of that build.
func (p *pull) record(l cache.Layout, began time.Time) cache.Record {
	if proof, ok := p.run.opts.Store.Proof(p.img.Output, l.Digest()); ok && proof.Exact(l) == nil && slices.Equal(proof.Manifests, l.Manifests) {
		return proof
	}
	return cache.Record{
		Output: p.img.Output, Origin: cache.Preseeded, Manifests: l.Manifests, Index: l.Index, Top: l.Top,
		From: cmp.Or(p.from, "out/, where it was"), Started: began, Finished: p.run.client.opts.Limits.Now(),
	}
}
