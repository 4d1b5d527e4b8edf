package memo

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// Stats remembers the sha256 of files by inode, size, mtime and ctime, so that hard links
// share an entry and a run with nothing to do reads no file. A mistake may only cost
// time: what Stats is not sure of it does not remember. It is safe for concurrent use.
type Stats struct {
	path string
	key  disk.Key
	now  func() time.Time
	log  *zap.Logger

	ReadOnly bool // Save writes nothing

	// InUse yields the files that others than Stats have found unchanged.
	InUse func(yield func(disk.Stamp))

	damaged atomic.Pointer[map[uint64]bool] // inodes that are hashed each time; see damage.go
	turns   chan struct{}                   // see Turn
	hashed  atomic.Int64                    // see Hashed

	keeps [64]sync.Mutex // see hold

	mu      sync.Mutex
	entries map[disk.Inode]statEntry     // nil until table is called
	dirty   map[disk.Inode]news          // what Save must write
	reading map[disk.Inode][]*disk.Stamp // files being hashed, and the stamps they must have at the end
}

// statEntry is what is remembered of an inode.
type statEntry struct {
	size, mtime, ctime int64 // of its stamp
	sum                [sha256.Size]byte
	used               int64 // day of the last use, since 1970
}

// isOf reports whether the entry of st's inode is about a file with stamp st.
func (e statEntry) isOf(st disk.Stamp) bool {
	return e.size == st.Size && e.mtime == st.Mtime && e.ctime == st.Ctime
}

// news is what happened to an entry since the file of Stats was read.
type news int

const (
	used   news = iota // it was looked up: what another process saved takes precedence
	learnt             // it was hashed, moved or dropped
)

// A file changed within this time of its ctime may keep that ctime: kernel clocks
// tick every 1 to 10 ms, old filesystems count whole or even seconds.
const (
	racyTick   = 100 * time.Millisecond
	racyWindow = 2 * time.Second
)

// Sum returns the sha256 of a regular file, which is read only if the hash is not
// remembered. It refuses a symbolic link.
func (s *Stats) Sum(path string) ([sha256.Size]byte, error) {
	f, err := disk.OpenRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer f.Close()
	return s.SumFile(context.Background(), f)
}

// Rehash is Sum, but always reads the file.
func (s *Stats) Rehash(ctx context.Context, path string) ([sha256.Size]byte, error) {
	f, err := disk.OpenRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	defer f.Close()
	st, err := disk.StatFile(f)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return s.HashFile(ctx, f, st)
}

// SumFile is Sum of an open file, which is at its start.
func (s *Stats) SumFile(ctx context.Context, f *os.File) ([sha256.Size]byte, error) {
	st, err := disk.StatFile(f)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return s.SumStamped(ctx, f, st)
}

// SumStamped is SumFile of a file that had stamp st when it was opened.
func (s *Stats) SumStamped(ctx context.Context, f *os.File, st disk.Stamp) ([sha256.Size]byte, error) {
	if sum, ok := s.Lookup(st); ok {
		return sum, nil
	}
	return s.HashFile(ctx, f, st)
}

// HashFile reads f, which has stamp st, and remembers the hash if it is certain. If a
// remembered hash turns out wrong, it is dropped on disk at once.
func (s *Stats) HashFile(ctx context.Context, f *os.File, st disk.Stamp) (sum [sha256.Size]byte, err error) {
	for try := 0; ; try++ {
		started := s.now()
		sum, st, err = s.hashOnce(ctx, f, st)
		var changed *ChangedError
		if errors.As(err, &changed) && changed.linked && try < maxRereads {
			if _, err := f.Seek(0, io.SeekStart); err == nil {
				continue
			}
		}
		switch {
		case err == nil && s.contradicts(st, sum[:]):
			s.correct(st, sum[:])
		case err == nil && !racy(st, started):
			s.Remember(st, sum)
		case Unreadable(ctx, err) && s.contradicts(st, nil):
			s.correct(st, nil)
		}
		return sum, err
	}
}

// Turn waits until fewer files are being hashed than there are processors, or for ctx's
// end: then the error is its cause. A caller that hashes many files at once takes a turn
// before it opens each, so that callers within callers do not add up. It calls done when
// the file is closed, and waits for nothing else meanwhile.
func (s *Stats) Turn(ctx context.Context) (done func(), err error) {
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Hashed returns how many bytes of files were read to hash them.
func (s *Stats) Hashed() int64 { return s.hashed.Load() }

// hashOnce also returns the stamp of f after reading.
func (s *Stats) hashOnce(ctx context.Context, f *os.File, st disk.Stamp) (sum [sha256.Size]byte, after disk.Stamp, err error) {
	kept := s.watch(st)
	defer s.unwatch(kept)
	sum, err = readSum(ctx, &counted{f, &s.hashed}, st.Size)
	if err != nil {
		return sum, st, err
	}
	defer s.hold(st.Inode)() // so that no Keep is between its op and the update of watched stamps
	after, err = disk.StatFile(f)
	return sum, after, errors.Join(err, changedSince(*kept, after, f.Name()))
}

// hold lets one caller at a time look at or change what a file's stamp is, and returns what
// ends that. Only some files exclude each other: most of a build's time beside the engine
// is spent in Keep.
func (s *Stats) hold(id disk.Inode) (release func()) {
	m := &s.keeps[id.Ino%uint64(len(s.keeps))]
	m.Lock()
	return m.Unlock
}

// maxRereads bounds how often a file that was linked meanwhile is read again.
const maxRereads = 4

// watch lets Keep update the stamp that a file must have after hashOnce.
func (s *Stats) watch(st disk.Stamp) *disk.Stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil {
		s.reading = map[disk.Inode][]*disk.Stamp{}
	}
	s.reading[st.Inode] = append(s.reading[st.Inode], &st)
	return &st
}

func (s *Stats) unwatch(st *disk.Stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.reading[st.Inode], func(other *disk.Stamp) bool { return other == st })
	if s.reading[st.Inode] = left; len(left) == 0 {
		delete(s.reading, st.Inode)
	}
}

// ChangedError says that a file was written to while it was read, or that another process
// linked it, which changes ctime only.
type ChangedError struct {
	Path   string
	linked bool
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("hashing %q: it changed while it was read", e.Path)
}

func changedSince(before, after disk.Stamp, path string) error {
	if after.Same(before) {
		return nil
	}
	return &ChangedError{path, after.Mtime == before.Mtime && after.Size == before.Size}
}

// hashFile reads f, which has stamp st before and must have it afterwards.
func hashFile(ctx context.Context, f *os.File, st disk.Stamp) (sum [sha256.Size]byte, err error) {
	sum, err = readSum(ctx, f, st.Size)
	if err != nil {
		return sum, err
	}
	after, err := disk.StatFile(f)
	return sum, errors.Join(err, changedSince(st, after, f.Name()))
}

// named is a file as far as readSum needs it.
type named interface {
	io.Reader
	Name() string
}

// counted is a file whose bytes are counted as they are read.
type counted struct {
	*os.File
	read *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// readSum reads exactly size bytes.
func readSum(ctx context.Context, f named, size int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(disk.ContextReader{Ctx: ctx, R: f}, size+1))
	switch {
	case err != nil:
		return sum, fmt.Errorf("hashing %q: %w", f.Name(), err)
	case n != size:
		return sum, &ChangedError{Path: f.Name()}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func racy(st disk.Stamp, started time.Time) bool {
	margin := racyTick
	if st.Ctime%1e9 == 0 {
		margin = racyWindow
	}
	return st.Ctime > started.Add(-margin).UnixNano()
}

func (s *Stats) Lookup(st disk.Stamp) (sum [sha256.Size]byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.table()[st.Inode]
	if !ok || !e.isOf(st) || s.Suspect(st.Inode) {
		return sum, false
	}
	if today := s.today(); e.used != today {
		e.used = today
		s.entries[st.Inode] = e
		s.dirty[st.Inode] = max(s.dirty[st.Inode], used)
	}
	return e.sum, true
}

// Remember keeps a hash. The caller guarantees that st cannot be the stamp of other
// bytes.
func (s *Stats) Remember(st disk.Stamp, sum [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(st, sum, s.today())
}

// rememberMade is Remember for a file that may have got another link since it had stamp st,
// and with that another ctime: what Keep has learnt of it stays.
func (s *Stats) rememberMade(st disk.Stamp, sum [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.table()[st.Inode]; !ok || e.ctime < st.Ctime {
		s.put(st, sum, s.today())
	}
}

// Keep runs op, which changes f's ctime and, by links, its link count, but not its
// content: making or removing a hard link. A true entry stays true. A change by another
// process at the same time shows in mtime, size or link count, and drops the entry.
func (s *Stats) Keep(f *os.File, links int, op func() error) error {
	_, err := s.KeepStamped(f, links, op)
	return err
}

// KeepStamped is Keep, and returns the stamp of f after op.
func (s *Stats) KeepStamped(f *os.File, links int, op func() error) (after disk.Stamp, err error) {
	which, err := disk.StatFile(f)
	if err != nil {
		return after, err
	}
	defer s.hold(which.Inode)()
	before, err := disk.StatFile(f) // another Keep may have ended since
	if err != nil {
		return after, err
	}
	if err := op(); err != nil {
		return after, err
	}
	if after, err = disk.StatFile(f); err != nil {
		return after, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.table()[before.Inode]
	if after.Nlink == 0 {
		delete(s.table(), before.Inode)
		s.dirty[before.Inode] = learnt
		s.unmark(before.Inode)
		return after, nil
	}
	unchanged := after.Mtime == before.Mtime && after.Size == before.Size
	if !unchanged || int64(after.Nlink) != int64(before.Nlink)+int64(links) {
		return after, nil
	}
	if ok && e.isOf(before) {
		s.put(after, e.sum, e.used)
	}
	for _, st := range s.reading[before.Inode] {
		if st.Same(before) {
			*st = after
		}
	}
	return after, nil
}

// put needs the lock.
func (s *Stats) put(st disk.Stamp, sum [sha256.Size]byte, used int64) {
	s.table()[st.Inode] = statEntry{st.Size, st.Mtime, st.Ctime, sum, used}
	s.dirty[st.Inode] = learnt
}

func (s *Stats) today() int64 { return s.now().Unix() / 86400 }
