package preseed

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// Tagged returns what a tag names at this moment: the bytes of a manifest or index, their digest, and the media type that
// the registry announced. The registry alone vouches for it.
func (r *Repository) Tagged(ctx context.Context, tag string) (data []byte, d oci.Digest, mediaType string, err error) {
	if err := CheckTag(tag); err != nil {
		return nil, d, "", err
	}
	resp, err := r.get(ctx, "manifests/"+tag, "the tag "+tag, func(h http.Header) {
		h.Set("Accept", strings.Join(manifestTypes, ", "))
	})
	if err != nil {
		return nil, d, "", err
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(io.LimitReader(resp.Body, oci.MaxDocument+1))
	switch {
	case err != nil:
		return nil, d, "", transfer.Plain(ctx, err)
	case len(data) > oci.MaxDocument:
		return nil, d, "", transfer.Answerf("the manifest has more than %d bytes", oci.MaxDocument)
	}
	return data, oci.DigestOf(data), transfer.MediaType(resp), nil
}

// Download writes a blob to an empty file. It returns nil only if the bytes are those that d names. A transfer that breaks
// off goes on where it was, as often as retries says.
func (r *Repository) Download(ctx context.Context, d oci.Descriptor, f *os.File, retries int) error {
	part := &filePart{f: f, sum: sha256.New(), want: d.Digest}
	download := &transfer.Download{
		Part: part, What: "blob", Size: d.Size, Max: d.Size,
		Ask: func(ctx context.Context, offset int64) (*http.Response, error) {
			return r.Blob(ctx, d, offset)
		},
		Begin: func(*http.Response, int64, int64) {}, Advance: func(int64) {},
	}
	if d.Size == 0 {
		return part.Check()
	}
	for n := 0; ; n++ {
		err := download.Run(ctx)
		if err == nil || ctx.Err() != nil || n >= retries || transfer.OutcomeOf(err) != transfer.Passes {
			return err
		}
		if err := transfer.Pause(ctx, transfer.Exponential(n)); err != nil {
			return err
		}
	}
}

// filePart is the beginning of a blob in a file.
type filePart struct {
	f    *os.File
	size int64
	sum  hash.Hash // of what is there
	want oci.Digest
}

var _ transfer.Part = (*filePart)(nil)

func (p *filePart) Size() int64 { return p.size }

func (p *filePart) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	p.sum.Write(b[:n])
	p.size += int64(n)
	return n, err
}

func (p *filePart) Reset() error {
	p.size = 0
	p.sum.Reset()
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("beginning a file again: %w", err)
	}
	return p.f.Truncate(0)
}

func (p *filePart) Check() error {
	if got := oci.DigestFromSum([sha256.Size]byte(p.sum.Sum(nil))); got != p.want {
		return &transfer.HashError{What: "blob", Got: got.Sum(), Want: p.want.Sum()}
	}
	return nil
}
