package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// MakePrivate is EnsurePrivate for a folder that seldom exists already, and reports whether
// it made the folder.
func MakePrivate(path string) (made bool, err error) {
	if unix.Mkdir(path, 0o700) != nil {
		return false, EnsurePrivate(path)
	}
	return true, os.Chmod(path, 0o700)
}

// WriteLinked is WriteFile, gives the file that mtime, and returns the stamp that it had
// before it was renamed. The file also gets the other names, replacing files that have them,
// and their folders are synced, before it gets path. On a filesystem without hard links the
// other names are copies.
func WriteLinked(path string, others []string, data []byte, perm fs.FileMode, tmpDir string, mtime time.Time) (Stamp, error) {
	return writeLinked(unix.Link, path, others, data, perm, tmpDir, mtime)
}

func writeLinked(link func(from, to string) error, path string, others []string, data []byte, perm fs.FileMode, tmpDir string, mtime time.Time) (Stamp, error) {
	tmp, st, err := sealedTemp(data, perm, tmpDir, mtime)
	if err != nil {
		return Stamp{}, fmt.Errorf("writing %q: %w", path, err)
	}
	defer tmp.Discard()
	for _, other := range others {
		if tmp.linkAs(link, other) != nil {
			err = WriteFile(other, data, perm, tmpDir)
		} else {
			err = SyncDir(filepath.Dir(other))
		}
		if err != nil {
			return Stamp{}, err
		}
	}
	return st, tmp.place(path)
}

// sealedTemp returns a synced file with that mtime, which still holds its lock.
func sealedTemp(data []byte, perm fs.FileMode, folder string, mtime time.Time) (*Temp, Stamp, error) {
	tmp, err := CreateTemp(folder)
	if err != nil {
		return nil, Stamp{}, err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(perm))
	var st Stamp
	if err == nil {
		st, err = sealed(tmp.File, tmp.Path, mtime)
	}
	if err != nil {
		tmp.Discard()
	}
	return tmp, st, err
}

// linkAs gives the file one more name, and replaces a file of that name.
func (t *Temp) linkAs(link func(from, to string) error, path string) error {
	err := link(t.Path, path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	next := t.Path + "-2"
	if err := link(t.Path, next); err != nil {
		return err
	}
	err = Rename(next, path)
	RemoveFile(next) // still there after an error, and if path is this file already
	return err
}
