package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"golang.org/x/sys/unix"
)

// part is a partial file, <TempDir>/<sha256>.part, locked while it is open. sum always
// covers the first size bytes, which are all bytes on disk.
type part struct {
	temp *temp
	want graph.Hash
	name string
	f    *os.File
	size int64
	sum  hash.Hash
	meta meta
	gone bool // no longer under its name
}

// openPart opens and locks the partial file of a hash and hashes its bytes. If another
// run is writing it, openPart calls waiting and waits for the lock.
func (t *temp) openPart(ctx context.Context, want graph.Hash, waiting func()) (*part, error) {
	p := &part{temp: t, want: want, name: want.String() + partSuffix, sum: sha256.New()}
	for p.f == nil {
		if err := p.lock(ctx, waiting); err != nil {
			return nil, p.failed(err)
		}
	}
	if err := p.load(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("reading %q: %w", p.name, cause(err))
	}
	return p, nil
}

// load hashes the bytes of an earlier run.
func (p *part) load(ctx context.Context) (err error) {
	p.size, err = io.CopyBuffer(p.sum, contextReader{ctx, p.f}, make([]byte, 256<<10))
	if err == nil && p.size > 0 {
		p.meta = p.temp.readMeta(p.want)
	}
	return err
}

var _ transfer.Part = (*part)(nil)

// Check returns nil if the bytes are the whole file, else a *transfer.HashError.
func (p *part) Check() error {
	if got := graph.Hash(p.sum.Sum(nil)); got != p.want {
		return &transfer.HashError{What: "file", Got: got, Want: p.want}
	}
	return nil
}

// Size returns how many bytes are there.
func (p *part) Size() int64 { return p.size }

// Write appends b. Its errors are those of this machine, not of a mirror.
func (p *part) Write(b []byte) (int, error) {
	if err := p.temp.grow(int64(len(b))); err != nil {
		return 0, err
	}
	n, err := p.f.Write(b)
	p.size += int64(n)
	p.sum.Write(b[:n])
	p.temp.shrink(int64(len(b) - n))
	return n, p.failed(err)
}

// failed returns a *DiskError if err means a full disk, else err with the file's name.
func (p *part) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case isFull(err):
		return &DiskError{Path: p.temp.path, Err: cause(err)}
	}
	return fmt.Errorf("writing %q: %w", p.name, cause(err))
}

// Reset discards all bytes.
func (p *part) Reset() error {
	if p.size == 0 {
		return nil
	}
	err := p.f.Truncate(0)
	if err == nil {
		_, err = p.f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return p.failed(err)
	}
	p.temp.shrink(p.size)
	p.size, p.meta = 0, meta{}
	p.sum.Reset()
	p.temp.dir.Remove(p.want.String() + metaSuffix)
	return nil
}

// finish gives the file its final name. It must be complete.
func (p *part) finish(s *spot) error {
	if err := errors.Join(p.f.Chmod(0o644), p.f.Sync()); err != nil {
		return p.failed(err)
	}
	if err := rename(p.temp.dir, p.name, s); err != nil {
		return err
	}
	p.gone = true
	p.temp.shrink(p.size)
	p.temp.dir.Remove(p.want.String() + metaSuffix)
	return nil
}

// close closes the file. It stays for a later run, unless it is empty.
func (p *part) close() {
	if !p.gone && p.size == 0 {
		p.temp.dir.Remove(p.name)
	}
	p.f.Close()
}

// lockEvery is the interval between attempts to take a lock that another sx holds.
const lockEvery = 100 * time.Millisecond

// lock opens and locks p's file. If the name was given to another file meanwhile, it
// leaves p.f nil: the caller calls it again.
func (p *part) lock(ctx context.Context, waiting func()) error {
	if info, err := p.temp.dir.Lstat(p.name); err == nil && !usable(info) {
		return p.temp.dir.RemoveAll(p.name)
	}
	f, err := p.temp.dir.OpenFile(p.name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	if err := flock(ctx, f, waiting); err != nil {
		f.Close()
		return err
	}
	// The run that held the lock may have given the file its final name.
	if info, err := f.Stat(); err != nil || !usable(info) || !p.temp.holds(f, p.name) {
		return errors.Join(err, f.Close())
	}
	p.f = f
	return nil
}

// usable reports whether a file is regular and has a single name: bytes written to it
// must not appear under another name.
func usable(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().IsRegular() && (!ok || st.Nlink <= 1)
}

func flock(ctx context.Context, f *os.File, waiting func()) error {
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if !told {
			waiting()
		}
		if err := transfer.Pause(ctx, lockEvery); err != nil {
			return err
		}
	}
}
