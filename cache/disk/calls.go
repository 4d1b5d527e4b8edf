package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// What sx does to each output it does with few calls of the kernel: a build of a whole tree
// makes them tens of thousands of times.

// OpenFile is os.OpenFile of a file or folder that is never waited for. The os package asks
// epoll first whether it can wait for the file, in five calls, and for what lies on a disk
// the answer is always no.
func OpenFile(path string, flags int, perm fs.FileMode) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, uint32(perm.Perm()))
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// Rename is os.Rename without a look at the new path.
func Rename(from, to string) error {
	for {
		err := unix.Rename(from, to)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
}

// RemoveFile removes a file, and no folder.
func RemoveFile(path string) error { return remove(path, unix.Unlink) }

// RemoveFolder is os.Remove of an empty folder.
func RemoveFolder(path string) error { return remove(path, unix.Rmdir) }

func remove(path string, how func(string) error) error {
	for {
		err := how(path)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return &fs.PathError{Op: "remove", Path: path, Err: err}
		}
	}
}
