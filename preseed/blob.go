package preseed

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"sync"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// blob makes d a shared blob: from out/, if an output there has it, else by downloading
// it. A blob of several images is downloaded once.
func (p *pull) blob(ctx context.Context, d oci.Descriptor) error {
	r := p.run
	unlock, err := r.blobs.Lock(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := r.local.find(ctx, d.Digest); ok {
		return nil
	}
	part, err := r.partial(ctx, d.Digest)
	if errors.Is(err, fs.ErrExist) {
		return nil // another sx brought it
	}
	if err != nil {
		return r.broken(ctx, err)
	}
	defer part.Close()
	x := &download{pull: p, want: d, part: blobPart{part}}
	if part.Size() >= d.Size && x.part.Check() == nil {
		return nil
	}
	reg, err := r.rounds(ctx, r.layers, p.img, part.Size, x.receive)
	if err == nil {
		p.came(reg)
	}
	return err
}

// blobPart is a partly received blob. Check makes it a shared blob.
type blobPart struct{ *cache.Partial }

var _ transfer.Part = blobPart{}

func (p blobPart) Check() error {
	err := p.Finish()
	var wrong *oci.DigestMismatchError
	if errors.As(err, &wrong) {
		return &transfer.HashError{What: "blob", Got: wrong.Got.Sum(), Want: wrong.Want.Sum()}
	}
	return err
}

// download is the download of one blob.
type download struct {
	pull  *pull
	want  oci.Descriptor
	part  blobPart
	from  map[Registry]*transfer.Download
	repo  *Repository // asked at present
	shown bool
}

// receive asks one registry for the missing bytes.
func (x *download) receive(ctx context.Context, reg Registry, repo *Repository) error {
	x.repo = repo
	if x.from == nil {
		x.from = map[Registry]*transfer.Download{}
	}
	if x.from[reg] == nil {
		x.from[reg] = x.newDownload(reg)
	}
	return x.from[reg].Run(ctx)
}

func (x *download) newDownload(reg Registry) *transfer.Download {
	show := x.pull.show
	return &transfer.Download{
		Part: x.part, What: "blob", Size: x.want.Size, Max: x.want.Size,
		Ask: func(ctx context.Context, offset int64) (*http.Response, error) {
			return x.repo.Blob(ctx, x.want, offset)
		},
		Begin: func(_ *http.Response, from, size int64) {
			if !x.shown {
				x.shown = true
				show.StartAnother(reg.String(), from, size)
			}
		},
		Advance: func(n int64) {
			x.pull.run.bytes.Add(max(n, 0))
			if x.shown {
				show.Add(n)
			}
		},
	}
}

// local finds blobs on this machine.
type local struct {
	store *cache.Store

	mu      sync.Mutex
	held    map[oci.Digest][]string
	adopted map[string]bool // outputs whose undamaged blobs are shared
}

// find returns the path of a shared blob. If only an output's folder has the blob, as
// after a run of make, find shares that output's blobs first.
func (l *local) find(ctx context.Context, d oci.Digest) (string, bool) {
	if path, err := l.store.BlobPath(d); err == nil {
		return path, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		held, err := l.store.Held()
		if err != nil {
			held = map[oci.Digest][]string{}
		}
		l.held, l.adopted = held, map[string]bool{}
	}
	for _, output := range l.held[d] {
		if !l.adopted[output] {
			l.adopted[output] = true
			l.store.Import(ctx, output) // a damaged blob stays missing and is downloaded
		}
	}
	path, err := l.store.BlobPath(d)
	return path, err == nil
}
