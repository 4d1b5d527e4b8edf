package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// WriteFile replaces path by data, completely or not at all: it writes a temporary file
// in tmpDir (on the same filesystem; "" means path's folder), syncs it, renames it, and
// syncs the folder. The mode is perm whatever the umask. The folder of path must exist.
func WriteFile(path string, data []byte, perm fs.FileMode, tmpDir string) error {
	if tmpDir == "" {
		tmpDir = filepath.Dir(path)
	}
	tmp, err := writeTemp(tmpDir, data, perm)
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, err)
	}
	defer tmp.Discard()
	return tmp.place(path)
}

// Temp is a temporary file, locked while it is open.
type Temp struct {
	*os.File
	Path string // "" once Rename has given it another
}

// CreateTemp makes a temporary file, mode 0600, with a random name in folder.
func CreateTemp(folder string) (*Temp, error) {
	for {
		tmp, err := CreateIn(folder)
		if err != nil {
			return nil, err
		}
		if TryClaim(tmp.File, tmp.Path) {
			return tmp, nil
		}
		tmp.Close()
	}
}

// CreateIn is CreateTemp in a folder that this process has locked: the file has no lock of
// its own.
func CreateIn(folder string) (*Temp, error) {
	path := filepath.Join(folder, ".sx-"+rand.Text())
	f, err := OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &Temp{f, path}, nil
}

// writeTemp returns a synced file that still holds its lock.
func writeTemp(folder string, data []byte, perm fs.FileMode) (*Temp, error) {
	tmp, err := CreateTemp(folder)
	if err != nil {
		return nil, err
	}
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(perm), tmp.Sync()); err != nil {
		tmp.Discard()
		return nil, err
	}
	return tmp, nil
}

// place gives a synced file its final name, and syncs the folder.
func (t *Temp) place(path string) error {
	if err := t.Rename(path); err != nil {
		return folderInTheWay(path, fmt.Errorf("writing %q: %w", path, err))
	}
	return SyncDir(filepath.Dir(path))
}

// Rename gives the file its final name, and replaces a file of that name.
func (t *Temp) Rename(path string) error {
	if err := Rename(t.Path, path); err != nil {
		return err
	}
	t.Path = ""
	return nil
}

// WriteNew writes and syncs a new file, in a folder that no other process reads before it
// is complete. It fails if the file exists.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	_, err := WriteNewSealed(path, data, perm, time.Now())
	return err
}

// WriteNewSealed is WriteNew, gives the file that mtime, and returns its stamp.
func WriteNewSealed(path string, data []byte, perm fs.FileMode, mtime time.Time) (Stamp, error) {
	f, err := OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return Stamp{}, err
	}
	defer f.Close()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(perm)); err != nil {
		return Stamp{}, err
	}
	return sealed(f, path, mtime)
}

// SealDir is SyncDir of a folder that first gets that mtime, and returns its stamp.
func SealDir(path string, mtime time.Time) (Stamp, error) {
	f, err := OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return Stamp{}, fmt.Errorf("syncing %q: %w", path, err)
	}
	defer f.Close()
	st, err := sealed(f, path, mtime)
	if err != nil {
		return Stamp{}, fmt.Errorf("syncing %q: %w", path, err)
	}
	return st, nil
}

// sealed sets the mtime of f, which is at path, and syncs it.
func sealed(f *os.File, path string, mtime time.Time) (Stamp, error) {
	if err := SetTime(f, path, mtime); err != nil {
		return Stamp{}, err
	}
	if err := f.Sync(); err != nil {
		return Stamp{}, err
	}
	return StatFile(f)
}

// SetTime sets the mtime and the atime of f, which is at path.
func SetTime(f *os.File, path string, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := setTimes(f, path, []unix.Timespec{ts, ts}); err != nil {
		return &fs.PathError{Op: "chtimes", Path: path, Err: err}
	}
	return nil
}

// Discard closes the file, and removes it if it still has its temporary name.
func (t *Temp) Discard() {
	if t.Path != "" {
		RemoveFile(t.Path)
	}
	t.Close()
}

// SyncDir syncs a folder, so that renames in it survive a power cut.
func SyncDir(path string) error {
	f, err := OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("syncing %q: %w", path, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing %q: %w", path, err)
	}
	return nil
}
