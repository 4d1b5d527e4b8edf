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

// swap puts the folder staged in place of out/<output> and leaves the old one, if
// there was one, at staged. Everything in staged is synced.
func (s *Store) swap(staged, output string) error {
	out := filepath.Join(s.tree, "out")
	if err := ensureOut(out); err != nil {
		return err
	}
	if err := s.swapInto(staged, s.out(output), output); err != nil {
		if errors.Is(err, unix.EXDEV) {
			err = fmt.Errorf("%q must be on the filesystem of %q: %w", s.dir, out, err)
		}
		return err
	}
	return errors.Join(disk.SyncDir(out), disk.SyncDir(filepath.Dir(staged)))
}

func ensureOut(out string) error {
	if err := os.Mkdir(out, 0o755); err == nil {
		return errors.Join(os.Chmod(out, 0o755), disk.SyncDir(filepath.Dir(out)))
	}
	info, err := os.Lstat(out)
	if err == nil && !info.IsDir() {
		err = disk.NotFolder(out, info)
	}
	return err
}

// swapInto tries again when the output came or went between two attempts.
func (s *Store) swapInto(staged, final, output string) (err error) {
	for range 8 {
		err = s.exchange(staged, final)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return s.swapAside(staged, final, output)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err = os.Rename(staged, final); err == nil || errors.Is(err, unix.EXDEV) {
			return err
		}
	}
	return err
}

// swapAside is swap where folders cannot be exchanged: the old one waits in
// .sx/swap, from where heal puts it back if this process dies in between.
func (s *Store) swapAside(staged, final, output string) error {
	lock, err := disk.LockFile(s.Dir("swap.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	aside := s.Dir("swap", output)
	if err := s.healOne(output); err != nil {
		return err
	}
	err = os.Rename(final, aside)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(staged, final)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(disk.SyncDir(s.Dir("swap")), os.Rename(staged, final)); err != nil {
		return errors.Join(err, os.Rename(aside, final))
	}
	return errors.Join(disk.SyncDir(filepath.Dir(final)), os.Rename(aside, staged))
}

// heal finishes what swapAside of a killed process began.
func (s *Store) heal() error {
	entries, err := os.ReadDir(s.Dir("swap"))
	if err != nil || len(entries) == 0 {
		return err
	}
	lock, err := disk.LockFile(s.Dir("swap.lock"))
	if err != nil {
		return fmt.Errorf("healing out/: %w", err)
	}
	defer lock.Close()
	for _, e := range entries {
		if checkOutput(e.Name()) != nil {
			continue
		}
		if err := s.healOne(e.Name()); err != nil {
			return fmt.Errorf("healing output %q: %w", e.Name(), err)
		}
	}
	return nil
}

// healOne puts the old layout back where no new one came, else removes it. The
// swap lock is held.
func (s *Store) healOne(output string) error {
	aside := s.Dir("swap", output)
	if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := os.Lstat(s.out(output))
	switch {
	case err == nil:
		return s.retire(aside)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := ensureOut(filepath.Dir(s.out(output))); err != nil {
		return err
	}
	return errors.Join(os.Rename(aside, s.out(output)), disk.SyncDir(filepath.Dir(s.out(output))))
}
