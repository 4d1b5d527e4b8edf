package preseed

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"codeberg.org/stagex/sx/cache/oci"
)

// layer is a blob as go-containerregistry uploads it.
type layer struct {
	content Content
	sent    *atomic.Int64

	mu  sync.Mutex
	err error // of reading
}

var _ v1.Layer = (*layer)(nil)

func hashOf(d oci.Descriptor) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: d.Digest.Hex()} }

func (l *layer) Digest() (v1.Hash, error) { return hashOf(l.content.Descriptor), nil }
func (l *layer) Size() (int64, error)     { return l.content.Size, nil }

// MediaType is that of any bytes: the manifest says what they are.
func (l *layer) MediaType() (types.MediaType, error) { return "application/octet-stream", nil }

func (l *layer) DiffID() (v1.Hash, error) { return v1.Hash{}, errNotUnpacked }

func (l *layer) Uncompressed() (io.ReadCloser, error) { return nil, errNotUnpacked }

var errNotUnpacked = errors.New("a blob is pushed as it is")

func (l *layer) Compressed() (io.ReadCloser, error) {
	r, err := l.content.Open()
	if err != nil {
		return nil, l.fail(err)
	}
	return &layerReader{r, l}, nil
}

func (l *layer) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	return err
}

func (l *layer) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

type layerReader struct {
	io.ReadCloser
	layer *layer
}

func (r *layerReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.layer.sent.Add(int64(n))
	if err != nil && err != io.EOF {
		r.layer.fail(err)
	}
	return n, err
}

// rawManifest is a manifest that is pushed to the byte as it is.
type rawManifest struct {
	descriptor oci.Descriptor
	data       []byte
}

var _ remote.Taggable = (*rawManifest)(nil)

func manifestOf(c Content) (*rawManifest, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, oci.MaxDocument+1))
	if err == nil && oci.DigestOf(data) != c.Digest {
		err = &oci.DigestMismatchError{Ref: "a manifest to push", Got: oci.DigestOf(data), Want: c.Digest}
	}
	return &rawManifest{c.Descriptor, data}, err
}

func (m *rawManifest) RawManifest() ([]byte, error) { return m.data, nil }
func (m *rawManifest) MediaType() (types.MediaType, error) {
	return types.MediaType(m.descriptor.MediaType), nil
}
