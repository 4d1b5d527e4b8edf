package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Shared blobs lie at .sx/blobs/sha256/<hex>, hard links of those in out/.

func (s *Store) shared(d Digest) string { return s.Dir("blobs", "sha256", d.Hex()) }

// BlobPath returns the path of a shared blob that is whole; fs.ErrNotExist when
// there is none. The file must not be written to, and not be linked but by Link.
func (s *Store) BlobPath(d Digest) (string, error) {
	f, err := s.openShared(d)
	if err != nil {
		return "", fmt.Errorf("finding blob %s: %w", d, err)
	}
	f.Close()
	return s.shared(d), nil
}

// openShared says fs.ErrNotExist also for a blob that is not whole; share will
// replace it.
func (s *Store) openShared(d Digest) (*os.File, error) {
	f, err := openRegular(unix.AT_FDCWD, s.shared(d), s.shared(d))
	if err != nil {
		return nil, err
	}
	sum, err := s.stats.sum(context.Background(), f)
	if err == nil && sum != d.sum {
		s.log.Warn("shared blob is damaged", zap.String("digest", d.String()))
		err = &fs.PathError{Op: "open", Path: s.shared(d), Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Link makes dst a hard link of a whole shared blob, or a copy where links are not
// possible. fs.ErrNotExist when there is no such blob, fs.ErrExist when dst exists.
func (s *Store) Link(d Digest, dst string) error {
	f, err := s.openShared(d)
	if err != nil {
		return fmt.Errorf("linking blob %s: %w", d, err)
	}
	defer f.Close()
	err = s.stats.keep(f, 1, func() error { return linkOpen(f, f.Name(), dst) })
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	s.log.Debug("blob is copied", zap.String("digest", d.String()), zap.Error(err))
	if err := copyBlob(d, f, dst); err != nil {
		return fmt.Errorf("linking blob %s: %w", d, err)
	}
	return nil
}

// linkOpen makes dst a hard link of path, and makes sure that it became f and
// nothing that took its name meanwhile.
func linkOpen(f *os.File, path, dst string) error {
	if err := os.Link(path, dst); err != nil {
		return err
	}
	a, err := statFile(f)
	if err != nil {
		return err
	}
	b, err := statPath(dst)
	if err == nil && a.inode != b.inode {
		os.Remove(dst)
		err = fmt.Errorf("linking %q: it was replaced meanwhile", path)
	}
	return err
}

// copyBlob copies f, which is at any offset, to a new file dst.
func copyBlob(d Digest, f *os.File, dst string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(dst), ".sx-"+rand.Text())
	out, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	defer out.Close()
	if err := copyVerified(out, io.NewSectionReader(f, 0, info.Size()), d, info.Size()); err != nil {
		return err
	}
	if err := errors.Join(seal(tmp), out.Sync()); err != nil {
		return err
	}
	return os.Rename(tmp, dst)
}

// share makes f, verified and at path, the shared blob, unless a whole one is
// there. Where links are not possible it is a copy.
func (s *Store) share(d Digest, f *os.File, path string) error {
	if old, err := s.openShared(d); err == nil {
		return old.Close()
	}
	tmp := s.Dir("tmp", ".sx-"+rand.Text())
	defer os.Remove(tmp)
	err := s.stats.keep(f, 1, func() error { return linkOpen(f, path, tmp) })
	if err != nil {
		s.log.Debug("blob is copied", zap.String("digest", d.String()), zap.Error(err))
		return copyBlob(d, f, s.shared(d))
	}
	return s.stats.keep(f, 0, func() error { return os.Rename(tmp, s.shared(d)) })
}
