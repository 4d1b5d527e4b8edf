// Package layer opens the layers of images: it decompresses a blob, and verifies it against
// the digest that names it while it is read.
//
// Layers are another's: how much one may unpack to and how much memory that may take is
// bounded, and nothing is believed before the end was reached. It knows neither where blobs
// come from nor what is done with the tar. Start at [Open].
package layer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/umoci/pkg/hardening"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Blobs are where the bytes of images come from.
type Blobs interface {
	// Open returns the bytes of a blob. They need not be verified.
	Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error)
}

// Bounds of one layer. StageX's largest has some gigabytes and a hundred thousand entries.
const (
	MaxUnpacked = 64 << 30  // bytes of the tar, and of all contents: sparse files may claim more than the tar has
	zstdWindow  = 128 << 20 // bytes that a zstd layer may make us hold
)

// Packing is how a layer is compressed.
type Packing struct {
	Kind   string // "gzip", "zstd", "none"
	Header string // of gzip, in words
}

// Stream is a layer's tar. Call End before its bytes are believed, and Close.
type Stream struct {
	io.Reader // of the tar
	Packing
	verified io.Reader
	close    []func()
}

// Open opens a layer's blob.
func Open(ctx context.Context, blobs Blobs, d oci.Descriptor) (*Stream, error) {
	blob, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	s := &Stream{close: []func(){func() { blob.Close() }}}
	verified := bufio.NewReaderSize(Verified(disk.ContextReader{Ctx: ctx, R: blob}, d), 256<<10)
	s.verified = verified
	if err := s.unpack(verified); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Verified returns a reader that fails at its end if the bytes are not those that d names.
func Verified(r io.Reader, d oci.Descriptor) io.Reader {
	return &hardening.VerifiedReadCloser{ // never closed: Close would log what is left of a bad stream
		Reader: io.NopCloser(r), ExpectedDigest: godigest.Digest(d.Digest.String()), ExpectedSize: d.Size,
	}
}

func (s *Stream) unpack(r *bufio.Reader) error {
	magic, err := r.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		s.Packing = Packing{"gzip", gzipWords(z.Header)}
		s.Reader = z
		s.close = append(s.close, func() { z.Close() })
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return err
		}
		s.Packing = Packing{Kind: "zstd"}
		s.Reader = z
		s.close = append(s.close, z.Close)
	default:
		s.Packing = Packing{Kind: "none"}
		s.Reader = r
	}
	s.Reader = &limitedReader{r: s.Reader, left: MaxUnpacked}
	return nil
}

// gzipWords are what a gzip header says. The time is a frequent reason of two files that differ.
func gzipWords(h gzip.Header) string {
	s := fmt.Sprintf("written on system %d", h.OS)
	if !h.ModTime.IsZero() {
		s += ", at " + h.ModTime.UTC().Format("2006-01-02T15:04:05Z")
	}
	if h.Name != "" {
		s += fmt.Sprintf(", file %q", h.Name)
	}
	if h.Comment != "" || len(h.Extra) > 0 {
		s += ", with a comment or extra field"
	}
	return s
}

// End reads what is left. Its error says that the blob is not the one that was named, or that it unpacks to too much.
func (s *Stream) End() error {
	if _, err := io.Copy(io.Discard, s.Reader); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, s.verified)
	return err
}

// Close closes the blob.
func (s *Stream) Close() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
}

// ErrLarge is of a layer that would take days to read.
var ErrLarge = fmt.Errorf("it unpacks to more than %d GiB", MaxUnpacked>>30)

// limitedReader fails after its limit, where io.LimitReader would end.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrLarge
	}
	return n, err
}

// EntryError says which entry of a tar, from 0, could not be read, unless the blob is not
// the one that was named.
func EntryError(n int64, err error) error {
	if errors.Is(err, hardening.ErrDigestMismatch) || errors.Is(err, hardening.ErrSizeMismatch) {
		return err
	}
	return fmt.Errorf("entry %d of its tar: %w", n+1, err)
}
