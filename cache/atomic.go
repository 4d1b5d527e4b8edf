package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces path by data, whole or not at all: a temporary file in
// tmpDir (on the same filesystem; "" is path's folder), synced, renamed, and the
// folder synced. The mode is perm whatever the umask. path's folder must exist.
func WriteFile(path string, data []byte, perm fs.FileMode, tmpDir string) error {
	if tmpDir == "" {
		tmpDir = filepath.Dir(path)
	}
	tmp, err := writeTemp(tmpDir, data, perm)
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	defer tmp.discard()
	if err := os.Rename(tmp.path, path); err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// temp is a temporary file, locked while it is open.
type temp struct {
	*os.File
	path string
}

func createTemp(folder string) (temp, error) {
	for {
		path := filepath.Join(folder, ".sx-"+rand.Text())
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return temp{}, err
		}
		if claim(f, path) {
			return temp{f, path}, nil
		}
		f.Close()
	}
}

// writeTemp leaves a synced file that still holds its lock.
func writeTemp(folder string, data []byte, perm fs.FileMode) (temp, error) {
	tmp, err := createTemp(folder)
	if err != nil {
		return temp{}, err
	}
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(perm), tmp.Sync()); err != nil {
		tmp.discard()
		return temp{}, err
	}
	return tmp, nil
}

// writeNew writes and syncs a file that does not exist, in a folder that nobody
// reads before it is complete.
func writeNew(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(perm), f.Sync(), f.Close())
}

// discard closes the file and removes it where it still has its temporary name.
func (t temp) discard() {
	os.Remove(t.path)
	t.Close()
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing %q: %w", path, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing %q: %w", path, err)
	}
	return nil
}
