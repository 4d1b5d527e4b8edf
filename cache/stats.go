package cache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Stats remembers the sha256 of files by inode, size, mtime and ctime, so that
// hard links share an entry and a no-op run reads nothing. It may only ever cost
// time: what it is not sure of it does not remember. Safe for concurrent use.
type Stats struct {
	path string
	key  macKey
	now  func() time.Time
	log  *zap.Logger

	readOnly bool // Save has nowhere to write to

	mu      sync.Mutex
	entries map[inode]entry
	dirty   map[inode]bool // seen or changed since the file was read
}

type entry struct {
	stamp
	sum  [sha256.Size]byte
	used int64 // day of the last use, since 1970
}

// A file changed within this time of its ctime may keep that ctime: kernel clocks
// tick every 1 to 10 ms, old filesystems count whole or even seconds.
const (
	racyTick   = 100 * time.Millisecond
	racyWindow = 2 * time.Second
)

// Sum returns the sha256 of a regular file, read only when it is not remembered.
// A symbolic link is refused.
func (s *Stats) Sum(path string) ([sha256.Size]byte, error) {
	f, err := openRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer f.Close()
	return s.sum(context.Background(), f)
}

// sum is Sum for an open file. f is at its start.
func (s *Stats) sum(ctx context.Context, f *os.File) ([sha256.Size]byte, error) {
	st, err := statFile(f)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	if sum, ok := s.lookup(st); ok {
		return sum, nil
	}
	return s.hash(ctx, f, st)
}

// hash reads f, which has stamp st, and remembers what is certain.
func (s *Stats) hash(ctx context.Context, f *os.File, st stamp) (sum [sha256.Size]byte, err error) {
	started := s.now()
	sum, err = hashFile(ctx, f, st)
	if err == nil && !racy(st, started) {
		s.remember(st, sum)
	}
	return sum, err
}

// hashFile reads f, which has stamp st before and must have it after.
func hashFile(ctx context.Context, f *os.File, st stamp) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(contextReader{ctx, f}, st.Size+1))
	if err != nil {
		return sum, fmt.Errorf("hashing %q: %w", f.Name(), err)
	}
	sum = [sha256.Size]byte(h.Sum(nil))
	after, err := statFile(f)
	if err != nil {
		return sum, err
	}
	if n != st.Size || !after.same(st) {
		return sum, fmt.Errorf("hashing %q: it changed while it was read", f.Name())
	}
	return sum, nil
}

func racy(st stamp, started time.Time) bool {
	margin := racyTick
	if st.Ctime%1e9 == 0 {
		margin = racyWindow
	}
	return st.Ctime > started.Add(-margin).UnixNano()
}

// same compares what is remembered of a file.
func (s stamp) same(o stamp) bool {
	return s.inode == o.inode && s.Size == o.Size && s.Mtime == o.Mtime && s.Ctime == o.Ctime
}

func (s *Stats) lookup(st stamp) (sum [sha256.Size]byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[st.inode]
	if !ok || !e.same(st) {
		return sum, false
	}
	if today := s.today(); e.used != today {
		e.used = today
		s.put(e)
	}
	return e.sum, true
}

// remember takes the caller's word that st cannot be the stamp of other bytes.
func (s *Stats) remember(st stamp, sum [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(entry{st, sum, s.today()})
}

// keep runs op, which changes f's ctime and, by links, its link count, but not its
// content: making or removing a hard link. An entry that was true stays true. A
// change by anybody else at the same time shows in mtime, size or link count, and
// the entry goes stale.
func (s *Stats) keep(f *os.File, links int, op func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := statFile(f)
	if err != nil {
		return err
	}
	if err := op(); err != nil {
		return err
	}
	after, err := statFile(f)
	if err != nil {
		return err
	}
	e, ok := s.entries[before.inode]
	if after.Nlink == 0 {
		delete(s.entries, before.inode)
		s.dirty[before.inode] = true
		return nil
	}
	unchanged := after.Mtime == before.Mtime && after.Size == before.Size
	if ok && e.same(before) && unchanged && int64(after.Nlink) == int64(before.Nlink)+int64(links) {
		e.stamp = after
		s.put(e)
	}
	return nil
}

// put needs the lock.
func (s *Stats) put(e entry) {
	s.entries[e.inode] = e
	s.dirty[e.inode] = true
}

func (s *Stats) today() int64 { return s.now().Unix() / 86400 }

// contextReader fails once ctx is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
