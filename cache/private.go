package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// UnsafeError says why a folder is not believed.
type UnsafeError struct{ Path, Reason string }

func (e *UnsafeError) Error() string { return fmt.Sprintf("opening %q: %s", e.Path, e.Reason) }

// isLink is said of what would have to be followed.
const isLink = "it is a symbolic link, which sx does not follow"

func notFolder(path string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return &UnsafeError{path, isLink}
	}
	return &UnsafeError{path, "it is not a folder"}
}

// ensurePrivate makes a folder of mode 0700, or checks that the one there is a
// folder of ours that nobody else may write.
func ensurePrivate(path string) error {
	failed := os.Mkdir(path, 0o700)
	if failed == nil {
		return os.Chmod(path, 0o700)
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("making %q: %w", path, err)
	}
	if !info.IsDir() {
		return notFolder(path, info)
	}
	st, err := statPath(path)
	if err != nil {
		return fmt.Errorf("making %q: %w", path, err)
	}
	return checkOwner(path, st, os.Geteuid(), yours(path)+"run as that user, or set paths.state")
}

// yours is the command that gives path to this user, who is not root, for the
// beginning of a way out.
func yours(path string) string {
	if os.Geteuid() == 0 {
		return ""
	}
	return fmt.Sprintf("make it yours (sudo chown -R %d %q), ", os.Geteuid(), path)
}

// checkOwner accepts what belongs to user uid and nobody else may write. wayOut is
// for a person who meets another's.
func checkOwner(path string, st stamp, uid int, wayOut string) error {
	if int(st.Uid) != uid {
		return &UnsafeError{path, fmt.Sprintf("it belongs to user %d, not to you: %s", st.Uid, wayOut)}
	}
	if st.Mode&0o022 != 0 {
		return &UnsafeError{path, "others may write to it"}
	}
	return nil
}
