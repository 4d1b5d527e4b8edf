package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// ReadOnlyError says that a store can only be read.
type ReadOnlyError struct {
	Path string // the store's own folder
	Err  error
}

func (e *ReadOnlyError) Error() string {
	return fmt.Sprintf("nothing can be written to %q (%v): make it writable, or set paths.state", e.Path, e.Err)
}

func (e *ReadOnlyError) Unwrap() error { return e.Err }

// ReadOnly returns a *ReadOnlyError where Open found that the store's folder
// cannot be made or written to: outputs can be read and verified, but nothing
// staged, shared or recorded. Nil does not promise that writing will succeed.
func (s *Store) ReadOnly() error { return s.readOnly }

// Replaceable returns an *UnsafeError where this user may not replace one of the
// outputs, as after a build by root: so it is known before anything is built.
func (s *Store) Replaceable(outputs []string) error {
	paths := []string{filepath.Join(s.tree, "out")}
	for _, output := range outputs {
		paths = append(paths, s.out(output)) // moving a folder changes its ".."
	}
	for _, path := range paths {
		err := writable(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		reason := "it cannot be written to"
		if st, statErr := disk.StatPath(path); statErr == nil && int(st.Uid) != os.Geteuid() {
			reason = fmt.Sprintf("it belongs to user %d, and you may not write to it: %srun as that user, or remove it", st.Uid, disk.Yours(paths[0]))
		}
		return &disk.UnsafeError{Path: path, Reason: reason}
	}
	return nil
}

// writable asks the system, which knows of read-only filesystems too.
func writable(folder string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write", Path: folder, Err: err}
	}
	return nil
}
