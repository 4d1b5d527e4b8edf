package preseed

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"codeberg.org/stagex/sx/cache/oci"
)

// maxReferrers bounds how many documents of one image are read.
const maxReferrers = 1000

// Attach pushes a document as a referrer of the image manifest subject, which must be in
// the repository ("host/path") and is not changed: an artifact manifest of artifactType
// that names the subject, with the document as its only layer. If the registry has no
// referrers API, the index at the fallback tag (sha256-<hex>) gains it; of two that do
// this at one time, one may get lost there. The error is a *PushError.
func (c *Client) Attach(ctx context.Context, repository string, subject oci.Digest, artifactType string, document []byte) error {
	err := c.attach(ctx, repository, subject, types.MediaType(artifactType), document)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &PushError{repository, err}
	}
	return nil
}

func (c *Client) attach(ctx context.Context, repository string, subject oci.Digest, artifactType types.MediaType, document []byte) error {
	repo, opts, err := c.Remote(ctx, repository)
	if err != nil {
		return err
	}
	head, err := remote.Head(repo.Digest(subject.String()), opts...)
	if err != nil {
		return fmt.Errorf("the image %s: %w", subject, err)
	}
	var img v1.Image = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), artifactType)
	if img, err = mutate.AppendLayers(img, static.NewLayer(document, artifactType)); err != nil {
		return err
	}
	img = mutate.Subject(img, v1.Descriptor{MediaType: head.MediaType, Digest: head.Digest, Size: head.Size}).(v1.Image)
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	return remote.Write(repo.Digest(digest.String()), img, opts...)
}

// Attached returns the documents of artifactType that refer to an image manifest in a
// repository ("host/path"), each at most limit bytes long and with the right hash. A
// document that cannot be read is an error in its place.
func (c *Client) Attached(ctx context.Context, repository string, subject oci.Digest, artifactType string, limit int64) ([]Document, error) {
	repo, opts, err := c.Remote(ctx, repository)
	if err != nil {
		return nil, err
	}
	index, err := remote.Referrers(repo.Digest(subject.String()), opts...)
	if err != nil {
		return nil, fmt.Errorf("reading the referrers of %s@%s: %w", repository, subject, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("reading the referrers of %s@%s: %w", repository, subject, err)
	}
	if len(manifest.Manifests) > maxReferrers {
		return nil, fmt.Errorf("reading the referrers of %s@%s: there are more than %d", repository, subject, maxReferrers)
	}
	var documents []Document
	for _, d := range manifest.Manifests {
		if d.ArtifactType != artifactType {
			continue
		}
		ref := repo.Digest(d.Digest.String())
		data, err := attached(ref.String(), func() (v1.Image, error) { return remote.Image(ref, opts...) }, limit)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		documents = append(documents, Document{ref.String(), data, err})
	}
	return documents, nil
}

// Document is a document that refers to an image.
type Document struct {
	Name string // "host/path@sha256:<hex>" of its manifest
	Data []byte
	Err  error // why it was not read
}

// attached reads the only layer of an artifact; the client checks its hash.
func attached(name string, open func() (v1.Image, error), limit int64) ([]byte, error) {
	img, err := open()
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != 1 {
		return nil, fmt.Errorf("%s has %d layers, want one", name, len(layers))
	}
	size, err := layers[0].Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, size, limit)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(data)) > limit {
		err = errors.New("it is longer than its manifest says")
	}
	return data, errors.Join(err, r.Close())
}
