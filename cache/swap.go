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

// swaps puts new layouts in the place of old ones.
type swaps struct {
	*blobs
	exchange func(a, b string) error // exchanges two folders, or fails with errors.ErrUnsupported
}

// swap puts the folder staged in the place of out/<output> and leaves the old one, if there
// was one, at staged. Everything in staged is synced.
func (s *swaps) swap(staged, output string) error {
	out := s.Out("")
	if err := ensureOut(out); err != nil {
		return err
	}
	if err := s.swapInto(staged, s.Out(output), output); err != nil {
		if errors.Is(err, unix.EXDEV) {
			err = fmt.Errorf("%q must be on the filesystem of %q: %w", s.dir, out, err)
		}
		return err
	}
	return errors.Join(disk.SyncDir(out), disk.SyncDir(filepath.Dir(staged)))
}

func ensureOut(out string) error {
	info, err := os.Lstat(out)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(out, 0o755); err == nil {
			return errors.Join(os.Chmod(out, 0o755), disk.SyncDir(filepath.Dir(out)))
		}
		info, err = os.Lstat(out) // another process made it meanwhile
	}
	if err == nil && !info.IsDir() {
		err = disk.NotFolder(out, info)
	}
	return err
}

// swapInto tries again if the output appeared or disappeared between two attempts.
func (s *swaps) swapInto(staged, final, output string) (err error) {
	for range 8 {
		err = s.exchange(staged, final)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return s.swapAside(staged, final, output)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err = disk.Rename(staged, final); err == nil || errors.Is(err, unix.EXDEV) {
			return err
		}
	}
	return err
}

// swapAside is swap on a filesystem that cannot exchange folders: the old one waits in
// .sx/swap, from where recoverSwaps puts it back if this process dies in between.
func (s *swaps) swapAside(staged, final, output string) error {
	lock, err := disk.LockFile(s.Dir("swap.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	aside := s.Dir("swap", output)
	if err := s.recoverSwap(output); err != nil {
		return err
	}
	err = disk.Rename(final, aside)
	if errors.Is(err, fs.ErrNotExist) {
		return disk.Rename(staged, final)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(disk.SyncDir(s.Dir("swap")), disk.Rename(staged, final)); err != nil {
		return errors.Join(err, disk.Rename(aside, final))
	}
	return errors.Join(disk.SyncDir(filepath.Dir(final)), disk.Rename(aside, staged))
}

// recoverSwaps finishes or undoes what swapAside of a killed process began.
func (s *swaps) recoverSwaps() error {
	entries, err := os.ReadDir(s.Dir("swap"))
	if err != nil || len(entries) == 0 {
		return err
	}
	lock, err := disk.LockFile(s.Dir("swap.lock"))
	if err != nil {
		return fmt.Errorf("recovering out/: %w", err)
	}
	defer lock.Close()
	for _, e := range entries {
		if CheckName(e.Name()) != nil {
			continue
		}
		if err := s.recoverSwap(e.Name()); err != nil {
			return fmt.Errorf("recovering output %q: %w", e.Name(), err)
		}
	}
	return nil
}

// recoverSwap puts the old layout back if no new one came, and else removes it. The caller
// holds the swap lock.
func (s *swaps) recoverSwap(output string) error {
	aside := s.Dir("swap", output)
	if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := os.Lstat(s.Out(output))
	switch {
	case err == nil:
		return s.discardReplaced(aside)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := ensureOut(s.Out("")); err != nil {
		return err
	}
	return errors.Join(disk.Rename(aside, s.Out(output)), disk.SyncDir(s.Out("")))
}
