package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"codeberg.org/stagex/sx/cache/disk"
)

// File is a file of the tree with other content.
type File struct {
	Path          string // in the tree, slashes
	Before, After []byte
	Changes       []Change // by line
}

// ChangedError reports that another program wrote a file after it was read.
type ChangedError struct{ Path string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s changed meanwhile, and stays as it is now: run the command again", e.Path)
}

// beforeExchange is called by tests, where others may write.
var beforeExchange func()

// maxFile bounds the files that are compared, in bytes.
const maxFile = 4 << 20

// Write replaces the file in the tree at root, completely or not at all. Mode and owner
// stay. The error is a *ChangedError if the file differs from Before. A change at the
// last moment is found too, and put back. The temporary file is in the folder tmp if
// that is on the same filesystem, else in packages/, where a name that begins with a
// dot is no stage.
func (f File) Write(root, tmp string) error {
	path := filepath.Join(root, filepath.FromSlash(f.Path))
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("writing %q: not a regular file", f.Path)
	}
	err = f.replace(path, tmp, info)
	if elsewhere(err, tmp) {
		err = f.replace(path, filepath.Join(root, "packages"), info)
	}
	return err
}

// elsewhere reports whether err means that nothing can be renamed from tmp into the tree.
func elsewhere(err error, tmp string) bool {
	if errors.Is(err, syscall.EXDEV) {
		return true
	}
	_, missing := os.Lstat(tmp)
	return errors.Is(err, fs.ErrNotExist) && errors.Is(missing, fs.ErrNotExist)
}

func (f File) replace(path, tmp string, info fs.FileInfo) error {
	temp, err := disk.CreateTemp(tmp)
	if err != nil {
		return fmt.Errorf("writing %q: %w", f.Path, err)
	}
	defer temp.Discard()
	_, err = temp.Write(f.After)
	if err := errors.Join(err, f.own(temp.File, info), temp.Chmod(info.Mode().Perm()), temp.Sync()); err != nil {
		return fmt.Errorf("writing %q: %w", f.Path, err)
	}
	if err := f.unchanged(path); err != nil {
		return err
	}
	if beforeExchange != nil {
		beforeExchange()
	}
	err = disk.Exchange(temp.Path, path)
	if errors.Is(err, errors.ErrUnsupported) {
		if err := os.Rename(temp.Path, path); err != nil {
			return fmt.Errorf("writing %q: %w", f.Path, err)
		}
		return disk.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", f.Path, err)
	}
	if err := f.unchanged(temp.Path); err != nil { // the file that was replaced
		return errors.Join(err, disk.Exchange(temp.Path, path))
	}
	return disk.SyncDir(filepath.Dir(path))
}

// own gives the new file the owner of the old one.
func (f File) own(file *os.File, info fs.FileInfo) error {
	was, ok := info.Sys().(*syscall.Stat_t)
	now, err := file.Stat()
	if err != nil || !ok {
		return err
	}
	if is, ok := now.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil
	}
	if err := file.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return fmt.Errorf("it belongs to user %d and group %d, and you may not give files to them", was.Uid, was.Gid)
	}
	return nil
}

// unchanged returns a *ChangedError unless the file at path has the content Before.
func (f File) unchanged(path string) error {
	now, err := disk.ReadFile(path, maxFile)
	if err == nil && !bytes.Equal(now, f.Before) {
		return &ChangedError{f.Path}
	}
	return err
}
