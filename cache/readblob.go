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
)

// json returns the verified bytes of a small blob.
func (r *reader) json(d Descriptor) ([]byte, error) {
	if d.Size > maxJSON {
		return nil, fmt.Errorf("reading blob %s: %d bytes are more than %d", d.Digest, d.Size, maxJSON)
	}
	f, err := r.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := bytes.NewBuffer(make([]byte, 0, d.Size+bytes.MinRead))
	if err := copyVerified(data, f, d.Digest, d.Size); err != nil {
		r.stats.distrust(f)
		return nil, r.mismatch(d, err)
	}
	r.verified[d.Digest] = true
	return data.Bytes(), nil
}

// open opens a blob and holds its size against the descriptor.
func (r *reader) open(d Descriptor) (*os.File, error) {
	f, err := r.blobs.open(d.Digest.Hex())
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

func (r *reader) mismatch(d Descriptor, err error) error {
	if errors.Is(err, hardening.ErrDigestMismatch) {
		return &DigestMismatchError{Ref: filepath.Join(r.blobs.path, d.Digest.Hex()), Want: d.Digest}
	}
	return err
}

// MissingBlobError says that a layout names a blob it does not hold.
type MissingBlobError struct{ Digest Digest }

func (e *MissingBlobError) Error() string { return fmt.Sprintf("blob %s is missing", e.Digest) }

// copyVerified copies exactly size bytes that have digest d, or fails; what it
// has written by then is worthless.
func copyVerified(w io.Writer, r io.Reader, d Digest, size int64) error {
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
	Digest Digest
	Err    error
}

func (e *DamagedError) Error() string { return e.Err.Error() }

func (e *DamagedError) Unwrap() error { return e.Err }

// Verified reads r as the bytes that d names: the Read that reaches the end fails
// where they are others. Closing it closes r and nothing else.
func Verified(r io.ReadCloser, d Descriptor) io.ReadCloser {
	return &verified{&hardening.VerifiedReadCloser{
		Reader:         r,
		ExpectedDigest: godigest.Digest(d.Digest.String()),
		ExpectedSize:   d.Size,
	}, r}
}

// verified passes by the library's Close, which would read the rest, and log.
type verified struct {
	io.Reader
	io.Closer
}
