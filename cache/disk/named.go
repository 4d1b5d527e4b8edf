package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteNamed writes a file that a user names. A regular file is replaced as by [WriteFile],
// also where a link leads to it; into anything else, such as /dev/null or a pipe, data is
// written.
func WriteNamed(path string, data []byte, perm fs.FileMode) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (info.Mode().IsRegular() || info.IsDir()) {
		return WriteFile(path, data, perm, "")
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
