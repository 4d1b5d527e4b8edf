package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/distribution/reference"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/imagediff"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/preseed"
)

// remoteError reports that an image could not be fetched from a registry.
type remoteError struct {
	image string
	err   error
}

func (e *remoteError) Error() string { return fmt.Sprintf("pulling %s: %s", e.image, e.err) }
func (e *remoteError) Unwrap() error { return e.err }

// remoteBlobs are the blobs of an image in a registry. Each is downloaded once, into a file without a name.
type remoteBlobs struct {
	reading *progress.Readings
	image   string
	repo    *preseed.Repository
	root    oci.Descriptor
	data    []byte // of root

	mu    sync.Mutex
	files map[oci.Digest]*os.File
}

// remoteRetries is how often a request is repeated, and a transfer that broke off.
const remoteRetries = 4

// openRemote finds an image by its reference, "host/repository@sha256:…" or with a tag, which it resolves.
func openRemote(ctx context.Context, reading *progress.Readings, client *preseed.Client, name string) (*remoteBlobs, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, usagef("%.200q is not a reference of an image: %w", name, err)
	}
	repo, err := client.Repository(ctx, named.Name())
	if err != nil {
		return nil, pullError(ctx, name, err)
	}
	b := &remoteBlobs{reading: reading, image: name, repo: repo.Retrying(remoteRetries, nil), files: map[oci.Digest]*os.File{}}
	var digest oci.Digest
	var mediaType string
	if digested, ok := named.(reference.Digested); ok {
		if digest, err = oci.ParseDigest(digested.Digest().String()); err != nil {
			return nil, usagef("%.200q: %w", name, err)
		}
		b.data, mediaType, err = b.repo.Manifest(ctx, digest)
	} else {
		b.data, digest, mediaType, err = b.repo.Tagged(ctx, reference.TagNameOnly(named).(reference.Tagged).Tag())
	}
	if err != nil {
		return nil, pullError(ctx, name, err)
	}
	b.root = oci.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(b.data))}
	return b, nil
}

func pullError(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &remoteError{name, err}
}

// Open returns a blob, after it was downloaded whole.
func (b *remoteBlobs) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.files[d.Digest]
	if f == nil {
		var err error
		if f, err = b.fetch(ctx, d); err != nil {
			return nil, &imagediff.PlaceError{Err: err}
		}
		b.files[d.Digest] = f
	}
	return io.NopCloser(io.NewSectionReader(f, 0, d.Size)), nil
}

func (b *remoteBlobs) fetch(ctx context.Context, d oci.Descriptor) (*os.File, error) {
	if d.Size > preseed.DefaultMaxBlob {
		return nil, fmt.Errorf("the blob %s is said to have %d bytes, above the limit of %d", d.Digest, d.Size, preseed.DefaultMaxBlob)
	}
	f, err := imagediff.TempFile("")
	if err != nil {
		return nil, err
	}
	switch {
	case d.Digest == b.root.Digest:
		_, err = f.Write(b.data)
	case d.IsManifest():
		var data []byte
		if data, _, err = b.repo.Manifest(ctx, d.Digest); err == nil {
			_, err = f.Write(data)
		}
	default:
		pulling := b.reading.Watch("pulling "+text.Abbreviate(d.Digest.String()), d.Size, func() int64 { return sizeOf(f) })
		err = b.repo.Download(ctx, d, f, remoteRetries)
		pulling.End()
	}
	if err != nil {
		f.Close()
		return nil, pullError(ctx, b.image, err)
	}
	return f, nil
}

func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (b *remoteBlobs) close() {
	for _, f := range b.files {
		f.Close()
	}
}

// openFirst opens an image in the first of repositories that has it.
func openFirst(ctx context.Context, reading *progress.Readings, client *preseed.Client, repositories []string, d oci.Digest) (*remoteBlobs, error) {
	var errs []error
	for _, name := range repositories {
		b, err := openRemote(ctx, reading, client, name+"@"+d.String())
		if err == nil || ctx.Err() != nil {
			return b, err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, usagef("registries.hosts names no registry to pull from")
	}
	return nil, errors.Join(errs...)
}
