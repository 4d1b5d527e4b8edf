package imagediff

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/umoci/pkg/hardening"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Bounds of one layer. StageX's largest has some gigabytes and a hundred thousand entries.
const (
	maxUnpacked = 64 << 30  // bytes of the tar, and of all contents: sparse files may claim more than the tar has
	zstdWindow  = 128 << 20 // bytes that a zstd layer may make us hold
)

// A packing is how a layer is compressed.
type packing struct {
	kind   string // "gzip", "zstd", "none"
	header string // of gzip, in words
}

// A stream is a layer's tar. Read it to its end, or its bytes are not verified.
type stream struct {
	io.Reader // of the tar
	packing
	verified io.Reader
	close    []func()
}

// open reads a layer's blob.
func open(ctx context.Context, blobs Blobs, d oci.Descriptor) (*stream, error) {
	blob, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	s := &stream{close: []func(){func() { blob.Close() }}}
	verified := bufio.NewReaderSize(verifiedReader(disk.ContextReader{Ctx: ctx, R: blob}, d), 256<<10)
	s.verified = verified
	if err := s.unpack(verified); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// verifiedReader fails at its end if the bytes are not those that d names.
func verifiedReader(r io.Reader, d oci.Descriptor) io.Reader {
	return &hardening.VerifiedReadCloser{ // never closed: Close would log what is left of a bad stream
		Reader: io.NopCloser(r), ExpectedDigest: godigest.Digest(d.Digest.String()), ExpectedSize: d.Size,
	}
}

func (s *stream) unpack(r *bufio.Reader) error {
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
		s.packing = packing{"gzip", gzipWords(z.Header)}
		s.Reader = z
		s.close = append(s.close, func() { z.Close() })
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return err
		}
		s.packing = packing{kind: "zstd"}
		s.Reader = z
		s.close = append(s.close, z.Close)
	default:
		s.packing = packing{kind: "none"}
		s.Reader = r
	}
	s.Reader = &limitedReader{r: s.Reader, left: maxUnpacked}
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

// end reads what is left, so that everything is verified.
func (s *stream) end() error {
	if _, err := io.Copy(io.Discard, s.Reader); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, s.verified)
	return err
}

func (s *stream) Close() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
}

// errLarge is of a layer that would take days to read.
var errLarge = fmt.Errorf("it unpacks to more than %d GiB", maxUnpacked>>30)

// limitedReader fails after its limit, where io.LimitReader would end.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errLarge
	}
	return n, err
}

// A walked layer is one that was read: its entries, sorted by path.
type walked struct {
	packing
	entries *sorter
	count   int64
	order   [sha256.Size]byte // of the paths as they come
	tar     [sha256.Size]byte // of all bytes
	size    int64             // of the tar
}

func (w *walked) close() { w.entries.close() }

// walk reads a layer.
func walk(ctx context.Context, blobs Blobs, d oci.Descriptor, tempDir string) (*walked, error) {
	s, err := open(ctx, blobs, d)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w := &walked{packing: s.packing, entries: newSorter(tempDir)}
	if err := w.read(s); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *walked) read(s *stream) error {
	all, order := &countingHash{Hash: sha256.New()}, sha256.New()
	s.Reader = io.TeeReader(s.Reader, all)
	r := tar.NewReader(s.Reader)
	content, buffer := sha256.New(), make([]byte, 256<<10)
	var key, value []byte
	for left := int64(maxUnpacked); ; w.count++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return entryError(w.count, err)
		}
		if left -= max(h.Size, 0); left < 0 {
			return errLarge
		}
		e := newEntry(w.count, h)
		if e.regular() {
			content.Reset()
			if _, err := io.CopyBuffer(struct{ io.Writer }{content}, struct{ io.Reader }{r}, buffer); err != nil {
				return entryError(w.count, err)
			}
			content.Sum(e.sum[:0])
		}
		key, value = e.sortKey(key[:0]), e.append(value[:0])
		order.Write(key[:len(key)-8])
		if err := w.entries.add(key, value); err != nil {
			return &PlaceError{err}
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	w.size = all.n
	order.Sum(w.order[:0])
	all.Sum(w.tar[:0])
	return nil
}

func entryError(n int64, err error) error {
	if errors.Is(err, hardening.ErrDigestMismatch) || errors.Is(err, hardening.ErrSizeMismatch) {
		return err
	}
	return fmt.Errorf("entry %d of its tar: %w", n+1, err)
}

type countingHash struct {
	hash.Hash
	n int64
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}
