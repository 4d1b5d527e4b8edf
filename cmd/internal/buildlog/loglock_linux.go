package buildlog

import (
	"os"

	"golang.org/x/sys/unix"
)

// A log is locked while its build writes it. The lock belongs to the open file and
// ends with the process.

func holdLog(f *os.File) {
	unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// logHeld asks for the state of the lock without taking it.
func logHeld(f *os.File) bool {
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock) == nil && lock.Type != unix.F_UNLCK
}
