package fetch

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sideName is where a copy grows beside its final name, when the file cannot be
// renamed or linked there. The prefix is one that no source has, and the lock on
// the partial file keeps other runs away; a killed run's is overwritten.
func sideName(base string) string { return ".sx-" + base }

// rename moves name from dir into s, over what is there; across filesystems it
// is copied. The caller has synced the file; s's folder is synced here.
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

// link gives the file of from a second name, or copies it where the filesystem
// or the kernel's rules do not allow that. It does not replace: os.ErrExist.
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

// copyTo copies a file to s, 0644, replacing what is there only when it is whole.
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

// between calls f with the descriptors of two folders.
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

// isFull tells a full disk or quota.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
