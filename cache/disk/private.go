package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// UnsafeError says why a file or folder is not trusted.
type UnsafeError struct{ Path, Reason string }

func (e *UnsafeError) Error() string { return fmt.Sprintf("opening %q: %s", e.Path, e.Reason) }

// IsLink is the reason to refuse a symbolic link.
const IsLink = "it is a symbolic link, which sx does not follow"

// NotFolder returns the error for a path that is not a folder.
func NotFolder(path string, info fs.FileInfo) error {
	return notFolder(path, info.Mode()&fs.ModeSymlink != 0)
}

func notFolder(path string, isLink bool) error {
	if isLink {
		return &UnsafeError{path, IsLink}
	}
	return &UnsafeError{path, "it is not a folder; move it away"}
}

// folderInTheWay explains err, of an attempt to write or to open a file, if a folder is in
// the file's place.
func folderInTheWay(path string, err error) error {
	if info, lerr := os.Lstat(path); err == nil || lerr != nil || !info.IsDir() {
		return err
	}
	return &UnsafeError{path, "it is a folder, in the place of a file of sx's; move it away"}
}

// EnsurePrivate makes a folder of mode 0700, or checks that the existing one is a folder
// of this user that no other user may write to.
func EnsurePrivate(path string) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, unix.ENOENT) {
		failed := os.Mkdir(path, 0o700)
		if failed == nil {
			return os.Chmod(path, 0o700)
		}
		if err = unix.Lstat(path, &st); errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("making %q: %w", path, failed)
		}
	}
	if err != nil {
		return fmt.Errorf("making %q: %w", path, &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return notFolder(path, st.Mode&unix.S_IFMT == unix.S_IFLNK)
	}
	return CheckOwner(path, StampOf(&st), os.Geteuid(), Yours(path)+"run as that user, or set paths.state")
}

// Yours returns the beginning of a remedy: the command that gives path to this user; ""
// for root.
func Yours(path string) string {
	if os.Geteuid() == 0 {
		return ""
	}
	return fmt.Sprintf("make it yours (sudo chown -R %d %q), ", os.Geteuid(), path)
}

// CheckOwner accepts a file of user uid that no other user may write to. The remedy
// wayOut is for a user who meets another's file.
func CheckOwner(path string, st Stamp, uid int, wayOut string) error {
	if int(st.Uid) != uid {
		return &UnsafeError{path, fmt.Sprintf("it belongs to user %d, not to you: %s", st.Uid, wayOut)}
	}
	if st.Mode&0o022 != 0 {
		return &UnsafeError{path, "others may write to it"}
	}
	return nil
}

// IsReadOnly reports whether err says that this user may not write to a place.
func IsReadOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)
}
