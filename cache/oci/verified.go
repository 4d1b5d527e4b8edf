package oci

import (
	"errors"
	"io"

	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/umoci/pkg/hardening"
)

// DamagedError reports that a blob's bytes are not those that its digest names.
type DamagedError struct {
	Digest Digest
	Err    error
}

func (e *DamagedError) Error() string { return e.Err.Error() }

func (e *DamagedError) Unwrap() error { return e.Err }

// Verified returns a reader of r, whose bytes must be those that d names: otherwise
// the Read that reaches the end fails. Closing it closes r.
func Verified(r io.ReadCloser, d Descriptor) io.ReadCloser {
	return &verified{verifying(r, d.Digest, d.Size), r}
}

// verified hides the library's Close, which would read the rest of the stream and
// write to a log.
type verified struct {
	io.Reader
	io.Closer
}

func verifying(r io.ReadCloser, d Digest, size int64) io.Reader {
	return &hardening.VerifiedReadCloser{Reader: r, ExpectedDigest: godigest.Digest(d.String()), ExpectedSize: size}
}

// The bytes that CopyVerified reads at a time: most documents have some hundreds.
const (
	minCopy = 512
	maxCopy = 32 << 10
)

// CopyVerified copies exactly size bytes that have digest d. If r has others the
// error is a *DamagedError. After an error w may have got any bytes.
func CopyVerified(w io.Writer, r io.Reader, d Digest, size int64) error {
	// Not through w's ReadFrom: that of io.Discard reads 8 KiB at a time.
	buf := make([]byte, min(max(size, minCopy), maxCopy))
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, verifying(io.NopCloser(r), d, size), buf)
	if errors.Is(err, hardening.ErrDigestMismatch) || errors.Is(err, hardening.ErrSizeMismatch) {
		return &DamagedError{d, err}
	}
	return err
}
