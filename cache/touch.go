package cache

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// Touch sets the mtime of the outputs' index.json: that is all that make compares
// (upstream: src/targets.py). No blob is touched. An index.json that has further
// names is first replaced by a copy, so that those keep their time.
func (s *Store) Touch(outputs []string, t time.Time) error {
	var errs []error
	for _, output := range outputs {
		if err := s.touch(output, t); err != nil {
			errs = append(errs, fmt.Errorf("touching output %q: %w", output, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) touch(output string, t time.Time) error {
	r, err := s.openLayout(output)
	if err != nil {
		return err
	}
	defer r.close()
	path := filepath.Join(r.folder.Path, "index.json")
	st, err := disk.StatPath(path)
	if err != nil {
		return err
	}
	if st.Nlink != 1 {
		if err := disk.WriteFile(path, r.index, 0o644, s.Dir("tmp")); err != nil {
			return err
		}
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	times := []unix.Timespec{ts, ts} // access, modification
	return unix.UtimesNanoAt(int(r.folder.F.Fd()), "index.json", times, unix.AT_SYMLINK_NOFOLLOW)
}
