package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// folders are the tree's own out/ and the store's folder, which is .sx/ by default.
type folders struct {
	tree, dir   string
	sharedBlobs string // see Options.Blobs
	readOnly    error  // why nothing can be written; nil if it can
	log         *zap.Logger
}

// blobsFolder is the folder of the shared blobs in the store's own.
const blobsFolder = "blobs"

// ReadOnlyError says that a store can only be read.
type ReadOnlyError struct {
	Path string // the store's own folder
	Err  error
}

func (e *ReadOnlyError) Error() string {
	return fmt.Sprintf("nothing can be written to %q (%v): make it writable, or set paths.state", e.Path, e.Err)
}

func (e *ReadOnlyError) Unwrap() error { return e.Err }

// ReadOnly returns a *ReadOnlyError if Open found that the store's folder cannot be made
// or written to: outputs can be read and verified, but nothing staged, shared or recorded.
// Nil does not promise that writing will succeed.
func (s *folders) ReadOnly() error { return s.readOnly }

// Dir returns a path in the store's own folder, or of the blobs that it shares with
// another store.
func (s *folders) Dir(elem ...string) string {
	if s.sharedBlobs != "" && len(elem) > 0 && elem[0] == blobsFolder {
		return join(s.sharedBlobs, elem[1:])
	}
	return join(s.dir, elem)
}

// join is filepath.Join of a clean path and clean names, in one allocation.
func join(dir string, names []string) string {
	n := len(dir)
	for _, name := range names {
		n += len("/") + len(name)
	}
	path := make([]byte, 0, n)
	path = append(path, dir...)
	for _, name := range names {
		if name != "" {
			path = append(append(path, filepath.Separator), name...)
		}
	}
	return string(path)
}

// Out returns the path of an output's folder, or of out/ itself for "".
func (s *folders) Out(output string) string { return filepath.Join(s.tree, "out", output) }

// Folder makes a folder below the store's own, mode 0700, and returns its path. On the way
// it refuses, with an UnsafeError, links and folders that others may write to.
func (s *folders) Folder(elem ...string) (string, error) {
	for i := range elem {
		if err := disk.EnsurePrivate(s.Dir(elem[:i+1]...)); err != nil {
			return "", err
		}
	}
	return s.Dir(elem...), nil
}

// prepare makes and checks the folders. Those inside the store's own are checked too: a
// copied tree may bring a .sx full of links.
func (s *folders) prepare() error {
	err := s.makeFolders()
	if err == nil {
		err = checkWritable(s.dir)
	}
	if disk.IsReadOnly(err) {
		s.readOnly = &ReadOnlyError{s.dir, err}
		s.log.Debug("nothing is recorded", zap.Error(err))
	} else if err != nil {
		return err
	}
	if err := s.checkOut(); err != nil || s.readOnly != nil {
		return err
	}
	ignore := s.Dir(".gitignore")
	if _, err := os.Lstat(ignore); errors.Is(err, fs.ErrNotExist) {
		return disk.WriteFile(ignore, []byte("*\n"), 0o644, s.Dir("tmp"))
	}
	return nil
}

// makeFolders checks every folder, also those after one that cannot be made.
func (s *folders) makeFolders() error {
	if err := disk.EnsurePrivate(s.dir); err != nil {
		return err
	}
	var readOnly error
	for _, name := range []string{"tmp", "swap", "records", "proofs", "blobs/sha256"} {
		_, err := s.Folder(strings.Split(name, "/")...)
		if err != nil && !disk.IsReadOnly(err) {
			return err
		}
		if readOnly == nil {
			readOnly = err
		}
	}
	return readOnly
}

// checkOut refuses an out/ that is a link, or on another filesystem than the store's
// folder, from which neither rename nor hard link would reach it.
func (s *folders) checkOut() error {
	out := s.Out("")
	info, err := os.Lstat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out = s.tree
	case err != nil:
		return fmt.Errorf("opening %q: %w", out, err)
	case !info.IsDir():
		return disk.NotFolder(out, info)
	}
	a, err := disk.StatPath(out)
	if err != nil {
		return fmt.Errorf("opening %q: %w", out, err)
	}
	b, err := disk.StatPath(s.dir)
	if s.readOnly != nil && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening %q: %w", s.dir, err)
	}
	if a.Dev != b.Dev {
		return fmt.Errorf("opening %q: must be on the filesystem of %q", s.dir, out)
	}
	return nil
}

// Replaceable returns an *UnsafeError if this user may not replace one of the outputs, as
// after a build by root. A caller asks before it builds anything.
func (s *folders) Replaceable(outputs []string) error {
	paths := []string{s.Out("")}
	for _, output := range outputs {
		paths = append(paths, s.Out(output)) // moving a folder changes its ".."
	}
	for _, path := range paths {
		err := checkWritable(path)
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

// checkWritable asks the kernel, which also knows of read-only filesystems.
func checkWritable(folder string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write", Path: folder, Err: err}
	}
	return nil
}
