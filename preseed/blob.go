package preseed

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"

	"codeberg.org/stagex/sx/cache"
)

// blob makes sure that the shared blobs hold d: it lies somewhere in out/, or is
// downloaded, once, whatever number of images name it.
func (p *pull) blob(ctx context.Context, d cache.Descriptor) error {
	r := p.run
	unlock, err := r.blobs.lock(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := r.local.find(ctx, d.Digest); ok {
		return nil
	}
	part, err := r.opts.Store.Partial(ctx, d.Digest)
	if errors.Is(err, fs.ErrExist) {
		return nil // another sx brought it
	}
	if err != nil {
		return r.broken(ctx, err)
	}
	defer part.Close()
	x := &download{pull: p, want: d, part: part}
	if done, err := x.begun(); done || err != nil {
		return err
	}
	reg, err := r.tour(ctx, r.layers, p.img, part.Size, x.receive)
	if err == nil {
		p.came(reg)
	}
	return err
}

// download is one blob on its way.
type download struct {
	pull  *pull
	want  cache.Descriptor
	part  *cache.Partial
	shown bool
}

// begun looks at what an earlier run left.
func (x *download) begun() (done bool, err error) {
	if x.part.Size() < x.want.Size {
		return false, nil
	}
	if x.part.Size() == x.want.Size {
		if err := x.part.Finish(); err == nil {
			return true, nil
		} else if !mismatch(err) {
			return false, &localError{err}
		}
	}
	return false, x.reset()
}

func (x *download) reset() error {
	had := x.part.Size()
	if err := x.part.Reset(); err != nil {
		return &localError{err}
	}
	if x.shown {
		x.pull.show.add(-had)
	}
	return nil
}

// receive asks one registry for what is missing. What cannot become the blob is
// thrown away.
func (x *download) receive(ctx context.Context, reg Registry) error {
	resumed := x.part.Size() > 0
	err := x.once(ctx, reg)
	var ranges *rangeError
	// The first bytes may have come from elsewhere, or the registry knows no ranges.
	if resumed && (mismatch(err) || errors.As(err, &ranges)) {
		if err := x.reset(); err != nil {
			return err
		}
		err = x.once(ctx, reg)
	}
	var answer *AnswerError
	if mismatch(err) || errors.As(err, &answer) {
		return errors.Join(err, x.reset())
	}
	return err
}

func (x *download) once(ctx context.Context, reg Registry) error {
	r := x.pull.run
	repo, err := r.repos.open(ctx, r.client, reg, x.pull.img.Output)
	if err != nil {
		return err
	}
	body, from, err := repo.Blob(ctx, x.want, x.part.Size())
	if err != nil {
		return err
	}
	if from < x.part.Size() {
		err = x.reset()
	}
	if err == nil {
		err = x.copy(body, reg)
	}
	body.Close() // others may have its place while this one is synced
	if err != nil {
		return err
	}
	err = x.part.Finish()
	var wrong *cache.DigestMismatchError
	if errors.As(err, &wrong) {
		wrong.Ref = "the blob"
		return wrong
	}
	if err != nil {
		return &localError{err}
	}
	return nil
}

// copy appends the body, which ends where the blob does.
func (x *download) copy(body io.Reader, reg Registry) error {
	if !x.shown {
		x.shown = true
		x.pull.show.start(reg.String(), x.part.Size(), x.want.Size)
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			x.pull.run.bytes.Add(int64(n))
			if _, err := x.part.Write(buf[:n]); err != nil {
				return &localError{err}
			}
			x.pull.show.add(int64(n))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// local finds blobs on this machine.
type local struct {
	store *cache.Store

	mu      sync.Mutex
	held    map[cache.Digest][]string
	adopted map[string]bool // outputs whose blobs are shared, as far as they are whole
}

// find returns the path of a shared blob; one that only an output's folder has, as
// make leaves them, is shared first.
func (l *local) find(ctx context.Context, d cache.Digest) (string, bool) {
	if path, err := l.store.BlobPath(d); err == nil {
		return path, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		held, err := l.store.Held()
		if err != nil {
			held = map[cache.Digest][]string{}
		}
		l.held, l.adopted = held, map[string]bool{}
	}
	for _, output := range l.held[d] {
		if !l.adopted[output] {
			l.adopted[output] = true
			l.store.Adopt(ctx, output) // what is damaged is downloaded
		}
	}
	path, err := l.store.BlobPath(d)
	return path, err == nil
}

// keyed are locks by digest, that a context can end the wait for.
type keyed struct {
	mu   sync.Mutex
	held map[cache.Digest]chan struct{}
}

func (k *keyed) lock(ctx context.Context, d cache.Digest) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[cache.Digest]chan struct{}{}
	}
	c := k.held[d]
	if c == nil {
		c = make(chan struct{}, 1)
		k.held[d] = c
	}
	k.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
