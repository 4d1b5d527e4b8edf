//go:build !linux

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenPath opens a folder to look below it.
const OpenPath = unix.O_RDONLY

// setTimes sets the times of f, which is at path.
func setTimes(_ *os.File, path string, times []unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW)
}
