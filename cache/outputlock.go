package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// OutputLock says that one process alone is making an output. It is an flock on
// .sx/locks/<output>, so it ends with its process, however that ends. The file
// holds the process's id, for those who wait.
type OutputLock struct{ f *os.File }

// Unlock lets the next one have it.
func (l *OutputLock) Unlock() error { return l.f.Close() }

// LockedError says that another process is making an output.
type LockedError struct {
	Output string
	PID    int // of that process; 0 when it did not say
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another sx is making %s", e.Output)
	}
	return fmt.Sprintf("another sx (process %d) is making %s", e.PID, e.Output)
}

// TryLock takes the lock of an output, or returns a *LockedError at once.
func (s *Store) TryLock(output string) (*OutputLock, error) {
	if err := checkOutput(output); err != nil {
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
		if errors.Is(err, fs.ErrNotExist) { // somebody removed the file meanwhile
			continue
		}
		var locked *LockedError
		if err != nil && !errors.As(err, &locked) {
			err = fmt.Errorf("locking output %q: %w", output, err)
		}
		return l, err
	}
}

func (s *Store) tryLock(output string) (*OutputLock, error) {
	path := s.Dir("locks", output)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	err = disk.Flock(f, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &LockedError{output, readPID(f)}
	}
	if err == nil && !disk.TryClaim(f, path) { // the lock of a file that is gone holds nobody off
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
