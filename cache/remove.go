package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// clearDead removes temporaries whose process is gone. What cannot be removed is
// only worth a word.
func (s *Store) clearDead() {
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

func (s *Store) clear(path string) error {
	f, err := disk.OpenAt(unix.AT_FDCWD, path, path, unix.O_NONBLOCK)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return os.Remove(path) // a link, say: nothing of ours
	}
	defer f.Close()
	if !disk.TryClaim(f, path) {
		return nil
	}
	return s.discard(path)
}

// discard removes a folder of ours, or a file, with whatever layouts lie in it.
// Shared blobs stay, though no layout has them: a next run may want them.
func (s *Store) discard(path string) error {
	return errors.Join(s.unlinkBlobs(path, false), os.RemoveAll(path))
}

// retire is discard for a layout that was replaced: shared blobs that only it had
// go too.
func (s *Store) retire(path string) error {
	return errors.Join(s.unlinkBlobs(path, true), os.RemoveAll(path))
}

// unlinkBlobs goes before RemoveAll, so that blobs keep their place in the stat
// cache when they lose a name.
func (s *Store) unlinkBlobs(path string, unused bool) error {
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
				s.stats.Sound(st.Inode) // its number will be another file's
			}
			return nil
		}
		return s.unlink(d, path, unused)
	})
}

func (s *Store) unlink(d oci.Digest, path string, unused bool) error {
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
