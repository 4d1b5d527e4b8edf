package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dir is an open folder. What is opened below it is opened one component at a
// time and never through a symbolic link. (os.Root follows links that stay
// inside; in a layout there is no reason for any.)
type dir struct {
	f    *os.File
	path string // for messages
}

// openDir opens a folder whose last component must not be a link.
func openDir(path string) (dir, error) {
	f, err := openAt(unix.AT_FDCWD, path, path, unix.O_DIRECTORY)
	return dir{f, path}, err
}

// sub opens a folder below d, a component per name.
func (d dir) sub(names ...string) (dir, error) {
	at := d
	for i, name := range names {
		path := filepath.Join(at.path, name)
		f, err := openAt(int(at.f.Fd()), name, path, unix.O_DIRECTORY)
		if i > 0 {
			at.close()
		}
		if err != nil {
			return dir{}, err
		}
		at = dir{f, path}
	}
	return at, nil
}

// open opens a regular file of d for reading. It never blocks, whatever lies there.
func (d dir) open(name string) (*os.File, error) {
	return openRegular(int(d.f.Fd()), name, filepath.Join(d.path, name))
}

// read returns a file of at most limit bytes.
func (d dir) read(name string, limit int64) ([]byte, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, limit)
}

func (d dir) close() {
	if d.f != nil {
		d.f.Close()
	}
}

// readPath is dir.read for a path.
func readPath(path string, limit int64) ([]byte, error) {
	f, err := openRegular(unix.AT_FDCWD, path, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, limit)
}

func readBounded(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading %q: more than %d bytes", f.Name(), limit)
	}
	return data, nil
}

func openRegular(at int, name, path string) (*os.File, error) {
	f, err := openAt(at, name, path, unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("opening %q: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func openAt(at int, name, path string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR) && linkAt(at, name):
			return nil, fmt.Errorf("opening %q: %s", path, isLink)
		case errors.Is(err, unix.ENOTDIR):
			return nil, fmt.Errorf("opening %q: not a folder", path)
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
}

// linkAt tells a link where a folder was wanted: Linux says ENOTDIR of both.
func linkAt(at int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}
