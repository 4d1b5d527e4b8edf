package oci

import (
	"errors"
	"fmt"
	"io"
	"sync"

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

// maxCopy is how many bytes CopyVerified reads at a time: nearly all documents have fewer.
const maxCopy = 32 << 10

var copyRooms = sync.Pool{New: func() any { return new([maxCopy + 1]byte) }}

// CopyVerified copies exactly size bytes that have digest d. If r has others the
// error is a *DamagedError. After an error w may have got any bytes.
func CopyVerified(w io.Writer, r io.Reader, d Digest, size int64) (err error) {
	room := copyRooms.Get().(*[maxCopy + 1]byte)
	defer copyRooms.Put(room)
	if 0 <= size && size <= maxCopy {
		err = copySmall(w, r, d, room[:size+1])
	} else { // not through w's ReadFrom: that of io.Discard reads 8 KiB at a time
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, verifying(io.NopCloser(r), d, size), room[:maxCopy])
	}
	if errors.Is(err, hardening.ErrDigestMismatch) || errors.Is(err, hardening.ErrSizeMismatch) {
		return &DamagedError{d, err}
	}
	return err
}

// copySmall is CopyVerified for few bytes: it reads all of r into room, which is one byte
// larger than r should be, before it writes. As in [Verified], a wrong digest is reported
// before a wrong size, and an error of r after the last byte is ignored.
func copySmall(w io.Writer, r io.Reader, d Digest, room []byte) error {
	size, n := len(room)-1, 0
	var err error
	for n <= size && err == nil {
		var more int
		more, err = r.Read(room[n:])
		n += more
	}
	if err != nil && err != io.EOF && n < size {
		return err
	}
	data := room[:min(n, size)]
	if got := DigestOf(data); got != d {
		return fmt.Errorf("expected %s not %s: %w", d, got, hardening.ErrDigestMismatch)
	}
	if n != size {
		return fmt.Errorf("expected %d bytes: %w", size, hardening.ErrSizeMismatch)
	}
	_, err = w.Write(data)
	return err
}
