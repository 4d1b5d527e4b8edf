//go:build !linux

package buildlog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// These systems cannot ask for the state of a lock: the reader takes a shared lock
// for a moment, and the writer waits for it.

func holdLog(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_EX) }

func logHeld(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
	return errors.Is(err, unix.EWOULDBLOCK)
}
