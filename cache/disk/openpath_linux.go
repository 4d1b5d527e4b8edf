package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenPath opens a folder to look below it.
const OpenPath = unix.O_PATH

// setTimes sets the times of f, which is at path. The way along a path takes longer, but
// a kernel before 5.8 needs it.
func setTimes(f *os.File, path string, times []unix.Timespec) error {
	err := unix.UtimesNanoAt(int(f.Fd()), "", times, unix.AT_EMPTY_PATH)
	if err != nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	return err
}
