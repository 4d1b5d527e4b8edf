package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Exchange swaps two paths atomically. The error is errors.ErrUnsupported if the
// filesystem cannot.
func Exchange(a, b string) error { return renameFlags(a, b, unix.RENAME_EXCHANGE) }

func renameNoReplace(from, to string) error { return renameFlags(from, to, unix.RENAME_NOREPLACE) }

// renameFlags fails with errors.ErrUnsupported if the kernel (ENOSYS) or the filesystem
// (EINVAL) does not know the flag.
func renameFlags(from, to string, flags uint) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		err = errors.ErrUnsupported
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}
