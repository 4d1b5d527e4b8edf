package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/umoci/pkg/hardening"

	"codeberg.org/stagex/sx/cache/oci"
)

// json returns the verified bytes of a small blob.
func (r *reader) json(d oci.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxDocument {
		return nil, fmt.Errorf("reading blob %s: %d bytes are more than %d", d.Digest, d.Size, oci.MaxDocument)
	}
	f, err := r.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := bytes.NewBuffer(make([]byte, 0, d.Size+bytes.MinRead))
	if err := copyVerified(data, f, d.Digest, d.Size); err != nil {
		r.stats.Distrust(f)
		return nil, r.mismatch(d, err)
	}
	r.verified[d.Digest] = true
	return data.Bytes(), nil
}

// open opens a blob and holds its size against the descriptor.
func (r *reader) open(d oci.Descriptor) (*os.File, error) {
	f, err := r.blobs.Open(d.Digest.Hex())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingBlobError{d.Digest}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != d.Size {
		err = fmt.Errorf("reading blob %s: size is %d, want %d", d.Digest, info.Size(), d.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (r *reader) mismatch(d oci.Descriptor, err error) error {
	if errors.Is(err, hardening.ErrDigestMismatch) {
		return &oci.DigestMismatchError{Ref: filepath.Join(r.blobs.Path, d.Digest.Hex()), Want: d.Digest}
	}
	return err
}

// MissingBlobError says that a layout names a blob it does not hold.
type MissingBlobError struct{ Digest oci.Digest }

func (e *MissingBlobError) Error() string { return fmt.Sprintf("blob %s is missing", e.Digest) }

// copyVerified copies exactly size bytes that have digest d, or fails; what it
// has written by then is worthless.
func copyVerified(w io.Writer, r io.Reader, d oci.Digest, size int64) error {
	// Never closed: Close would log what is left of a bad stream.
	v := &hardening.VerifiedReadCloser{
		Reader:         io.NopCloser(r),
		ExpectedDigest: godigest.Digest(d.String()),
		ExpectedSize:   size,
	}
	_, err := io.Copy(w, v)
	if errors.Is(err, hardening.ErrDigestMismatch) || errors.Is(err, hardening.ErrSizeMismatch) {
		return &DamagedError{d, err}
	}
	return err
}

// DamagedError says that a blob's bytes are not those that its digest names.
type DamagedError struct {
	Digest oci.Digest
	Err    error
}

func (e *DamagedError) Error() string { return e.Err.Error() }

func (e *DamagedError) Unwrap() error { return e.Err }
