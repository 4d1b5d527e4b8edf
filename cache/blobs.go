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

// blobs are the shared blobs of a store: .sx/blobs/sha256/<hex>, hard links of the blobs
// in out/. A file gets such a name only once it is synced and its digest is verified.
type blobs struct {
	*folders
	stats *memo.Stats
	link  func(old, name string) error
}

func (s *blobs) shared(d oci.Digest) string { return s.Dir("blobs", "sha256", d.Hex()) }

// BlobPath returns the path of a shared blob after checking its digest; fs.ErrNotExist if
// there is none. The caller must not write to the file, nor link it but by Link.
func (s *blobs) BlobPath(d oci.Digest) (string, error) {
	if s.hasShared(d) {
		return s.shared(d), nil
	}
	f, err := s.openShared(d)
	if err != nil {
		return "", fmt.Errorf("finding blob %s: %w", d, err)
	}
	f.Close()
	return s.shared(d), nil
}

// hasShared reports whether there is a shared blob whose digest the stat cache knows. If it
// reports false openShared finds out.
func (s *blobs) hasShared(d oci.Digest) bool {
	st, err := disk.StatPath(s.shared(d))
	if err != nil || !st.Regular {
		return false
	}
	sum, ok := s.stats.Lookup(st)
	return ok && sum == d.Sum()
}

// openShared fails with fs.ErrNotExist for a damaged blob too; share will replace it.
func (s *blobs) openShared(d oci.Digest) (*os.File, error) {
	path := s.shared(d)
	f, st, err := disk.OpenStamped(unix.AT_FDCWD, path, path)
	if err != nil {
		return nil, err
	}
	sound, err := s.hasDigest(f, st, d)
	if err == nil && !sound {
		s.log.Warn("shared blob is damaged", zap.String("digest", d.String()))
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// hasDigest reports whether f, a shared blob with stamp st, has digest d. One that cannot be
// read has not: it is as good as gone.
func (s *blobs) hasDigest(f *os.File, st disk.Stamp, d oci.Digest) (bool, error) {
	sum, err := s.stats.SumStamped(context.Background(), f, st)
	if memo.Unreadable(context.Background(), err) || err == nil && sum != d.Sum() {
		s.stats.Damage(st.Inode)
		return false, nil
	}
	if err == nil {
		s.stats.Sound(st.Inode)
	}
	return err == nil, err
}

// Link makes dst a hard link of a shared blob, or a copy if links are not possible, and
// keeps the stat cache true. The error is fs.ErrNotExist if there is no such blob, and
// fs.ErrExist if dst exists.
func (s *blobs) Link(d oci.Digest, dst string) error {
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

// share makes f, which is verified, sealed and at path, the shared blob, unless a sound
// one is there.
func (s *blobs) share(d oci.Digest, f *os.File, path string) error {
	if err := s.linkOrCopy(d, f, path, s.shared(d)); !errors.Is(err, fs.ErrExist) {
		return err
	}
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

// linkOrCopy makes dst a link or copy of f, which is at path and has digest d.
func (s *blobs) linkOrCopy(d oci.Digest, f *os.File, path, dst string) error {
	err := s.stats.Keep(f, 1, func() error { return s.linkOpen(f, path, dst) })
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// EXDEV, EPERM or EMLINK; after any other error the copy fails too, and says why.
	s.log.Debug("blob is copied", zap.String("digest", d.String()), zap.Error(err))
	return s.copyBlob(d, f, dst)
}

// linkOpen makes dst a hard link of path, and checks that the link is to f and not to a
// file that took its name meanwhile.
func (s *blobs) linkOpen(f *os.File, path, dst string) error {
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

// copyBlob copies all of f to dst, which then is complete or does not exist.
func (s *blobs) copyBlob(d oci.Digest, f *os.File, dst string) error {
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

func (s *blobs) copyVia(folder string, d oci.Digest, size int64, f *os.File, dst string) error {
	tmp, err := disk.CreateTemp(folder)
	if err != nil {
		return err
	}
	defer tmp.Discard()
	if err := s.fill(tmp, d, size, io.NewSectionReader(f, 0, size)); err != nil {
		return err
	}
	return s.stats.Keep(tmp.File, 0, func() error { return tmp.Rename(dst) })
}

// fill writes a blob to tmp, a new file that no other process knows, syncs it and
// remembers its hash.
func (s *blobs) fill(tmp *disk.Temp, d oci.Digest, size int64, r io.Reader) error {
	if err := oci.CopyVerified(tmp, r, d, size); err != nil {
		return err
	}
	if err := errors.Join(tmp.Chmod(0o444), disk.SetTime(tmp.File, tmp.Path, blobTime), tmp.Sync()); err != nil {
		return err
	}
	return s.rememberSealed(tmp.File, d)
}

// rememberSealed remembers the hash of a file that was sealed before it was hashed, and
// before any other process could see it: its mtime is in the past, so every later write
// changes it, however soon after.
func (s *blobs) rememberSealed(f *os.File, d oci.Digest) error {
	st, err := disk.StatFile(f)
	if err != nil {
		return err
	}
	s.stats.Remember(st, d.Sum())
	s.stats.Sound(st.Inode)
	return nil
}

// blobTime is the mtime of blobs that sx writes, SOURCE_DATE_EPOCH of every build. It is in
// the past, see rememberSealed.
var blobTime = time.Unix(1, 0)

// seal gives a file of this user the mode and mtime of a blob.
func seal(path string) error {
	if err := os.Chmod(path, 0o444); err != nil {
		return err
	}
	return os.Chtimes(path, blobTime, blobTime)
}

// clearDead removes temporaries whose process is gone. Failures are only logged.
func (s *blobs) clearDead() {
	entries, err := os.ReadDir(s.Dir("tmp"))
	if err != nil {
		s.log.Warn("temporaries are not cleared", zap.Error(err))
	}
	for _, e := range entries {
		if err := s.clear(s.Dir("tmp", e.Name())); err != nil {
			s.log.Warn("temporary is left behind", zap.String("path", e.Name()), zap.Error(err))
		}
	}
}

func (s *blobs) clear(path string) error {
	f, err := disk.OpenAt(unix.AT_FDCWD, path, path, unix.O_NONBLOCK)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return os.Remove(path) // a link, say, which sx does not make here
	}
	defer f.Close()
	if !disk.TryClaim(f, path) {
		return nil
	}
	return s.discard(path)
}

// discard removes a folder in tmp/, or a file, with the layouts in it. Shared blobs stay,
// also those that no layout has: the next run may need them.
func (s *blobs) discard(path string) error {
	if disk.RemoveFolder(path) == nil { // nothing is in it
		return nil
	}
	return errors.Join(s.unlinkBlobs(path, false), os.RemoveAll(path))
}

// discardReplaced is discard for a layout that was replaced: shared blobs that only it had
// are removed too.
func (s *blobs) discardReplaced(path string) error {
	if _, err := disk.StatPath(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(s.unlinkBlobs(path, true), os.RemoveAll(path))
}

// unlinkBlobs runs before RemoveAll, so that blobs which lose a name stay in the stat
// cache.
func (s *blobs) unlinkBlobs(path string, unused bool) error {
	return filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		d, err := oci.ParseHexDigest(e.Name())
		if err != nil {
			if st, err := disk.StatPath(path); err == nil && st.Nlink == 1 {
				s.stats.Sound(st.Inode) // another file will get its number
			}
			return nil
		}
		return s.unlink(d, path, unused)
	})
}

// unlink removes a name of blob d. With unused it also removes the shared blob, if that is
// the only name left.
func (s *blobs) unlink(d oci.Digest, path string, unused bool) error {
	f, err := disk.OpenRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return os.Remove(path)
	}
	defer f.Close()
	if err := s.stats.Keep(f, -1, func() error { return os.Remove(path) }); err != nil || !unused {
		return err
	}
	left, err := disk.StatFile(f)
	if err != nil || left.Nlink != 1 {
		return err
	}
	if shared, err := disk.StatPath(s.shared(d)); err != nil || shared.Inode != left.Inode {
		return nil
	}
	return os.Remove(s.shared(d))
}
