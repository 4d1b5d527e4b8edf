package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Partial is a blob that is being received: .sx/blobs/partial/<hex>. The file is
// locked while it is open, and stays for the next run if the process ends too early.
// Finish makes it a shared blob, if its hash is the wanted one.
type Partial struct {
	s    *Store
	want oci.Digest
	path string
	f    *os.File
	sum  hash.Hash // of the size bytes in the file
	size int64
	done bool
}

// partialWait is the pause between two tries of a partial blob that another sx
// receives.
const partialWait = 100 * time.Millisecond

// Partial opens the partial blob of a digest and hashes what an earlier run left. If
// another process receives the blob it calls waiting, once, and waits. If the blob
// is a shared one already, the error is fs.ErrExist.
func (s *Store) Partial(ctx context.Context, d oci.Digest, waiting func()) (*Partial, error) {
	if s.readOnly != nil {
		return nil, fmt.Errorf("receiving blob %s: %w", d, s.readOnly)
	}
	if _, err := s.Folder("blobs", "partial"); err != nil {
		return nil, fmt.Errorf("receiving blob %s: %w", d, err)
	}
	p := &Partial{s: s, want: d, path: s.Dir("blobs", "partial", d.Hex()), sum: sha256.New()}
	if err := p.open(ctx, waiting); err != nil {
		return nil, fmt.Errorf("receiving blob %s: %w", d, err)
	}
	if _, err := s.BlobPath(d); err == nil {
		p.Discard()
		return nil, fmt.Errorf("receiving blob %s: %w", d, fs.ErrExist)
	}
	n, err := io.Copy(p.sum, disk.ContextReader{Ctx: ctx, R: p.f})
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("receiving blob %s: %w", d, err)
	}
	p.size = n
	return p, nil
}

// open opens p.f: a locked file that has its name.
func (p *Partial) open(ctx context.Context, waiting func()) error {
	for told := false; ; {
		f, err := disk.OpenOrCreate(p.path)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ELOOP) { // a run that was killed sealed it, or sx did not make it
			err = os.Remove(p.path)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			return err
		}
		switch err := p.claim(f); {
		case err == nil:
			p.f = f
			return nil
		case !errors.Is(err, errTaken):
			f.Close()
			return err
		}
		f.Close()
		if !told {
			told = true
			waiting()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(partialWait):
		}
	}
}

// errTaken reports that another process holds the partial blob, or gave it its final
// name.
var errTaken = errors.New("another sx receives it")

// claim locks f. It refuses a file that is not regular or has another name, which
// would show what is written.
func (p *Partial) claim(f *os.File) error {
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	if !st.Regular || st.Nlink > 1 {
		return errors.Join(os.Remove(p.path), errTaken)
	}
	if !disk.TryClaim(f, p.path) {
		return errTaken
	}
	return nil
}

// Size returns how many bytes were received.
func (p *Partial) Size() int64 { return p.size }

// Write appends b.
func (p *Partial) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	p.size += int64(n)
	p.sum.Write(b[:n])
	return n, err
}

// Reset drops the received bytes.
func (p *Partial) Reset() error {
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.sum.Reset()
	p.size = 0
	return p.f.Truncate(0)
}

// Finish makes the blob a shared one. If the bytes are not those of the digest, the
// error is an *oci.DigestMismatchError and the partial blob stays.
func (p *Partial) Finish() error {
	if got := oci.DigestFromSum([sha256.Size]byte(p.sum.Sum(nil))); got != p.want {
		return &oci.DigestMismatchError{Ref: "what was received", Got: got, Want: p.want}
	}
	if err := errors.Join(seal(p.path), p.f.Sync(), p.s.rememberSealed(p.f, p.want)); err != nil {
		return err
	}
	if err := p.s.share(p.want, p.f, p.path); err != nil {
		return err
	}
	p.done = true
	return p.s.stats.Keep(p.f, -1, func() error { return os.Remove(p.path) })
}

// Close closes the file. Received bytes stay for a later run.
func (p *Partial) Close() error {
	if !p.done && p.size == 0 {
		os.Remove(p.path)
	}
	return p.f.Close()
}

// Discard closes the file and removes it.
func (p *Partial) Discard() error {
	os.Remove(p.path)
	return p.f.Close()
}
