package cache

import (
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// Every process that has a store open holds a shared flock on .sx/open.lock, for
// as long as it has. What needs that nobody else does takes it for itself.

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("another sx works in this tree")

// hold waits for a process that is alone, which takes no longer than some renames.
// Where the filesystem has no locks, nobody can be alone.
func (s *Store) hold() {
	f, err := os.OpenFile(s.Dir("open.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err == nil {
		if err = disk.Flock(f, unix.LOCK_SH); err == nil {
			s.open = f
			return
		}
		f.Close()
	}
	s.log.Debug("the store is not held", zap.Error(err))
}

// Alone calls do while no other process has the store open, and none can open it.
// Where one has, the error is ErrInUse. A process that wants to open the store
// waits for do, which must be short.
func (s *Store) Alone(do func() error) error {
	if s.readOnly != nil {
		return s.readOnly
	}
	if s.open == nil {
		return fmt.Errorf("locking %q: its filesystem has no locks", s.Dir("open.lock"))
	}
	// Changing a lock gives it up for a moment: what fails has to be had again.
	err := disk.Flock(s.open, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err == nil {
		err = do()
	}
	return errors.Join(err, disk.Flock(s.open, unix.LOCK_SH))
}

// Close saves what spares the next process work, and lets go of the store.
func (s *Store) Close() error {
	err := s.Save()
	if s.open != nil {
		err = errors.Join(err, s.open.Close())
	}
	return err
}
