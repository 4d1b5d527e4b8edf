package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// A process that has a store open holds a shared flock on .sx/open.lock. An operation that
// no other process may disturb, such as gc, takes that lock exclusively.

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("another sx works in this tree")

// locks are the flocks of a tree: on the store, and on the outputs that are being made.
type locks struct {
	*folders
	open     *os.File // locked while the store is open; nil if it could not be
	unlocked error    // why open is nil
}

// lockShared waits for a process in Alone, which takes no longer than some renames. On a
// filesystem without locks Alone always fails.
func (s *locks) lockShared() {
	var err error
	if s.open, err = disk.LockFileShared(s.Dir("open.lock")); err != nil {
		s.unlocked = err
		s.log.Debug("the store is not locked", zap.Error(err))
	}
}

// release ends lockShared.
func (s *locks) release() error {
	if s.open == nil {
		return nil
	}
	return s.open.Close()
}

// Alone calls do while no other process has the store open. If one has, the error is
// ErrInUse. Processes that want to open the store wait for do, which must be short.
func (s *locks) Alone(do func() error) error {
	if s.readOnly != nil {
		return s.readOnly
	}
	if s.open == nil {
		return fmt.Errorf("locking %q: %w", s.Dir("open.lock"), s.unlocked)
	}
	// Converting a flock releases it for a moment: after a failure it must be taken again.
	err := disk.Flock(s.open, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err == nil {
		err = do()
	}
	return errors.Join(err, disk.Flock(s.open, unix.LOCK_SH))
}

// OutputLock is held by the one process that makes an output. It is a flock on
// .sx/locks/<output>, so it ends with its process, however that ends. The file holds the
// process's id, for those who wait.
type OutputLock struct{ f *os.File }

// Unlock releases the lock.
func (l *OutputLock) Unlock() error { return l.f.Close() }

// LockedError says that another process is making an output.
type LockedError struct {
	Output string
	PID    int // of that process; 0 if it did not say
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another sx is making %s", e.Output)
	}
	return fmt.Sprintf("another sx (process %d) is making %s", e.PID, e.Output)
}

// TryLock takes the lock of an output, or returns a *LockedError at once.
func (s *locks) TryLock(output string) (*OutputLock, error) {
	if err := CheckName(output); err != nil {
		return nil, err
	}
	if s.readOnly != nil {
		return nil, fmt.Errorf("locking output %q: %w", output, s.readOnly)
	}
	if _, err := s.Folder("locks"); err != nil {
		return nil, fmt.Errorf("locking output %q: %w", output, err)
	}
	for {
		l, err := s.tryLock(output)
		if errors.Is(err, fs.ErrNotExist) { // the file was removed meanwhile
			continue
		}
		var locked *LockedError
		if err != nil && !errors.As(err, &locked) {
			err = fmt.Errorf("locking output %q: %w", output, err)
		}
		return l, err
	}
}

func (s *locks) tryLock(output string) (*OutputLock, error) {
	path := s.Dir("locks", output)
	f, err := disk.OpenOrCreate(path)
	if err != nil {
		return nil, err
	}
	err = disk.Flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &LockedError{output, readPID(f)}
	}
	if err == nil && !disk.TryClaim(f, path) { // a lock on a removed file excludes no other process
		err = fs.ErrNotExist
	}
	if err == nil {
		err = writePID(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &OutputLock{f}, nil
}

func readPID(f *os.File) int {
	data, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}
