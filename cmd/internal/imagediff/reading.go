package imagediff

import (
	"context"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/cache/oci"
)

// A Reading is told how far a layer was read.
type Reading interface {
	Add(n int64) // bytes of its blob more
	End()
}

// reading wraps the blobs of a layer, so that its reading is told.
func (l *layerPair) reading(side int, blobs Blobs) Blobs {
	if l.o.Reading == nil {
		return blobs
	}
	return toldBlobs{blobs, func(size int64) Reading {
		return l.o.Reading(fmt.Sprintf("%c, layer %d", 'A'+side, l.pair.number()), size)
	}}
}

// toldBlobs tell how far they are read.
type toldBlobs struct {
	Blobs
	begin func(size int64) Reading
}

func (t toldBlobs) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	r, err := t.Blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	return &toldReader{r, t.begin(d.Size)}, nil
}

type toldReader struct {
	io.ReadCloser
	reading Reading
}

func (t *toldReader) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.reading.Add(int64(n))
	return n, err
}

func (t *toldReader) Close() error {
	t.reading.End()
	return t.ReadCloser.Close()
}
