package fetch

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sideName returns the temporary name of a copy, beside its final name, for a file that
// cannot be renamed or linked there. No source has this prefix. The lock on the partial
// file excludes other runs; a file left by a killed run is overwritten.
func sideName(base string) string { return ".sx-" + base }

// rename moves name from dir to s and replaces a file there; across filesystems it
// copies. The caller has synced the file; rename syncs the folder of s.
func rename(dir *os.Root, name string, s *spot) error {
	err := between(dir, s.dir, func(from, to int) error {
		return unix.Renameat(from, name, to, s.base)
	})
	if errors.Is(err, unix.EXDEV) {
		if err = copyTo(dir, name, s); err == nil {
			err = dir.Remove(name)
		}
	}
	if err == nil {
		err = syncDir(s.dir)
	}
	return placing(s, err)
}

// link makes a hard link of from at to, or a copy if the filesystem or the kernel's rules
// do not allow a link. It does not replace a file: the error is then os.ErrExist.
func link(from, to *spot) error {
	err := between(from.dir, to.dir, func(a, b int) error {
		return unix.Linkat(a, from.base, b, to.base, 0)
	})
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EMLINK), errors.Is(err, unix.ENOTSUP):
		err = copyTo(from.dir, from.base, to)
	}
	if err == nil {
		err = syncDir(to.dir)
	}
	return placing(to, err)
}

func placing(s *spot, err error) error {
	if err == nil {
		return nil
	}
	if isFull(err) {
		return &DiskError{Path: s.path, Err: cause(err)}
	}
	return fmt.Errorf("placing %q: %w", s.path, cause(err))
}

// copyTo copies a file to s with mode 0644. It replaces an existing file by a rename, once
// the copy is complete.
func copyTo(dir *os.Root, name string, s *spot) (err error) {
	in, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	side := sideName(s.base)
	s.dir.Remove(side)
	out, err := s.dir.OpenFile(side, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.dir.Remove(side)
		}
	}()
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o644), out.Sync(), out.Close()); err != nil {
		return err
	}
	return s.dir.Rename(side, s.base)
}

// between calls f with the file descriptors of two folders.
func between(a, b *os.Root, f func(a, b int) error) error {
	da, err := a.Open(".")
	if err != nil {
		return err
	}
	defer da.Close()
	db, err := b.Open(".")
	if err != nil {
		return err
	}
	defer db.Close()
	return f(int(da.Fd()), int(db.Fd()))
}

// isFull reports whether err means a full disk or an exhausted quota.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
