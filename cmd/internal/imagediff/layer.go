package imagediff

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"hash"
	"io"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/layer"
)

// packing is how a layer is compressed, see layer.Packing.
type packing struct{ kind, header string }

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
	s, err := layer.Open(ctx, blobs, d)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w := &walked{packing: packing{s.Kind, s.Header}, entries: newSorter(tempDir)}
	if err := w.read(s); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *walked) read(s *layer.Stream) error {
	all, order := &countingHash{Hash: sha256.New()}, sha256.New()
	s.Reader = io.TeeReader(s.Reader, all)
	r := tar.NewReader(s.Reader)
	content, buffer := sha256.New(), make([]byte, 256<<10)
	var key, value []byte
	for left := int64(layer.MaxUnpacked); ; w.count++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return layer.EntryError(w.count, err)
		}
		if left -= max(h.Size, 0); left < 0 {
			return layer.ErrLarge
		}
		e := newEntry(w.count, h)
		if e.regular() {
			content.Reset()
			if _, err := io.CopyBuffer(struct{ io.Writer }{content}, struct{ io.Reader }{r}, buffer); err != nil {
				return layer.EntryError(w.count, err)
			}
			content.Sum(e.sum[:0])
		}
		key, value = e.sortKey(key[:0]), e.append(value[:0])
		order.Write(key[:len(key)-8])
		if err := w.entries.add(key, value); err != nil {
			return &PlaceError{err}
		}
	}
	if err := s.End(); err != nil {
		return err
	}
	w.size = all.n
	order.Sum(w.order[:0])
	all.Sum(w.tar[:0])
	return nil
}

type countingHash struct {
	hash.Hash
	n int64
}

func (c *countingHash) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}
