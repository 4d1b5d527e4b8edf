package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// Shared blobs lie at .sx/blobs/sha256/<hex>, hard links of those in out/. They
// are put there only once synced and verified.

func (s *Store) shared(d oci.Digest) string { return s.Dir("blobs", "sha256", d.Hex()) }

// BlobPath returns the path of a shared blob that is whole; fs.ErrNotExist when
// there is none. The file must not be written to, nor linked but by Link.
func (s *Store) BlobPath(d oci.Digest) (string, error) {
	f, err := s.openShared(d)
	if err != nil {
		return "", fmt.Errorf("finding blob %s: %w", d, err)
	}
	f.Close()
	return s.shared(d), nil
}

// openShared says fs.ErrNotExist also of a blob that is not whole; share will
// replace it.
func (s *Store) openShared(d oci.Digest) (*os.File, error) {
	f, err := disk.OpenRegular(unix.AT_FDCWD, s.shared(d), s.shared(d))
	if err != nil {
		return nil, err
	}
	whole, err := s.holds(f, d)
	if err == nil && !whole {
		s.log.Warn("shared blob is damaged", zap.String("digest", d.String()))
		err = &fs.PathError{Op: "open", Path: s.shared(d), Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// holds reports whether f, a blob of ours, has digest d. One that cannot be read does
// not: it is as good as gone.
func (s *Store) holds(f *os.File, d oci.Digest) (bool, error) {
	st, err := disk.StatFile(f)
	if err != nil {
		return false, err
	}
	sum, err := s.stats.SumFile(context.Background(), f)
	if memo.Unreadable(context.Background(), err) || err == nil && sum != d.Sum() {
		s.stats.Damage(st.Inode)
		return false, nil
	}
	if err == nil {
		s.stats.Sound(st.Inode)
	}
	return err == nil, err
}

// Link makes dst a hard link of a whole shared blob, or a copy where links are not
// possible, and keeps the stat cache true. fs.ErrNotExist when there is no such
// blob, fs.ErrExist when dst exists.
func (s *Store) Link(d oci.Digest, dst string) error {
	f, err := s.openShared(d)
	if err != nil {
		return fmt.Errorf("linking blob %s: %w", d, err)
	}
	defer f.Close()
	if err := s.linkOrCopy(d, f, f.Name(), dst); err != nil {
		return fmt.Errorf("linking blob %s: %w", d, err)
	}
	return nil
}

// share makes f, verified, sealed and at path, the shared blob, unless a whole one
// is there.
func (s *Store) share(d oci.Digest, f *os.File, path string) error {
	if old, err := s.openShared(d); err == nil {
		return old.Close()
	}
	if err := os.Remove(s.shared(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.linkOrCopy(d, f, path, s.shared(d)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil // another process shared it meanwhile
}

// linkOrCopy makes dst of f, which lies at path and has digest d.
func (s *Store) linkOrCopy(d oci.Digest, f *os.File, path, dst string) error {
	err := s.stats.Keep(f, 1, func() error { return s.linkOpen(f, path, dst) })
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// EXDEV, EPERM or EMLINK; with anything else the copy fails too, and says why.
	s.log.Debug("blob is copied", zap.String("digest", d.String()), zap.Error(err))
	return s.copyBlob(d, f, dst)
}

// linkOpen makes dst a hard link of path, and makes sure that it became f and
// nothing that took its name meanwhile.
func (s *Store) linkOpen(f *os.File, path, dst string) error {
	if err := s.link(path, dst); err != nil {
		return err
	}
	a, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	b, err := disk.StatPath(dst)
	if err == nil && a.Inode != b.Inode {
		os.Remove(dst)
		err = fmt.Errorf("linking %q: it was replaced meanwhile", path)
	}
	return err
}

// copyBlob copies f, at whatever offset it is, to dst: whole or not at all.
func (s *Store) copyBlob(d oci.Digest, f *os.File, dst string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	err = s.copyVia(s.Dir("tmp"), d, info.Size(), f, dst)
	if errors.Is(err, unix.EXDEV) {
		err = s.copyVia(filepath.Dir(dst), d, info.Size(), f, dst)
	}
	return err
}

func (s *Store) copyVia(folder string, d oci.Digest, size int64, f *os.File, dst string) error {
	tmp, err := disk.CreateTemp(folder)
	if err != nil {
		return err
	}
	defer tmp.Discard()
	if err := s.fill(tmp, d, size, io.NewSectionReader(f, 0, size)); err != nil {
		return err
	}
	return s.stats.Keep(tmp.File, 0, func() error { return os.Rename(tmp.Path, dst) })
}

// fill makes tmp, new and known to nobody else, a synced blob, and remembers it.
func (s *Store) fill(tmp disk.Temp, d oci.Digest, size int64, r io.Reader) error {
	if err := copyVerified(tmp, r, d, size); err != nil {
		return err
	}
	if err := errors.Join(seal(tmp.Path), tmp.Sync()); err != nil {
		return err
	}
	return s.rememberSealed(tmp.File, d)
}

// rememberSealed takes a file that was sealed before it was hashed or seen by
// anybody: its mtime lies in the past, so any write from now on shows in it,
// however close to its ctime.
func (s *Store) rememberSealed(f *os.File, d oci.Digest) error {
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	s.stats.Remember(st, d.Sum())
	s.stats.Sound(st.Inode)
	return nil
}

// blobTime is the mtime of blobs that sx writes, SOURCE_DATE_EPOCH of every build.
// Being in the past, it changes with any later write to the file, so that such a
// blob may be remembered at once.
var blobTime = time.Unix(1, 0)

// seal gives a file of ours the mode and mtime of a blob.
func seal(path string) error {
	if err := os.Chmod(path, 0o444); err != nil {
		return err
	}
	return os.Chtimes(path, blobTime, blobTime)
}
