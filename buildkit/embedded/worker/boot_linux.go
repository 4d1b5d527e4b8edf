package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// An engine's state is never synced, neither its databases nor their snapshots. If the
// engine is killed, the kernel still writes all of it. If the machine stops, any part
// that the kernel had not written can be missing. So the state has a mark with the id of
// the boot, synced before anything else is made. A state of another boot is dropped: it
// is a cache.
const markName = "boot"

// bootID names this run of the kernel.
func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading which boot of this machine it is: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// sameBoot marks the state in root as one of this boot, and refuses one of another boot,
// of which parts may be missing.
func sameBoot(root string) error {
	id, err := bootID()
	if err != nil {
		return err
	}
	return markBoot(root, id)
}

func markBoot(root, id string) error {
	path := filepath.Join(root, markName)
	old, err := os.ReadFile(path)
	if err == nil && string(old) == id {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if used, err := inUse(root); err != nil {
		return err
	} else if used {
		return fmt.Errorf("the machine was started again: the state is of boot %q, this is boot %q", old, id)
	}
	if err := disk.WriteFile(path, []byte(id), 0o600, root); err != nil {
		return fmt.Errorf("marking the engine's state: %w", err)
	}
	return nil
}

// inUse reports whether there is a state in root at all.
func inUse(root string) (bool, error) {
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		if e.Name() != markName && !strings.HasPrefix(e.Name(), ".") {
			return true, err
		}
	}
	return false, err
}

// Unmark removes the marks of all states in an engine's folder. It must be called before
// they are removed: otherwise the rest that an interrupted removal leaves would pass for
// a state.
func Unmark(dir string) error {
	for _, root := range States(dir) {
		if err := unmark(root); err != nil {
			return err
		}
	}
	return nil
}

func unmark(root string) error {
	err := os.Remove(filepath.Join(root, markName))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	} else if err != nil {
		return err
	}
	return disk.SyncDir(root)
}

// unsynced makes a database that is never synced.
func unsynced(db interface {
	View(func(*bolt.Tx) error) error
}) error {
	return db.View(func(tx *bolt.Tx) error {
		tx.DB().NoSync, tx.DB().NoGrowSync = true, true
		return nil
	})
}
