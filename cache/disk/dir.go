package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Dir is an open folder. Files below it are opened one path component at a time, and
// never through a symbolic link. (os.Root follows links that stay inside; a layout has no
// reason for any.)
type Dir struct {
	F    *os.File
	Path string // for messages
}

// OpenDir opens a folder whose last component must not be a link.
func OpenDir(path string) (Dir, error) {
	f, err := OpenAt(unix.AT_FDCWD, path, path, unix.O_DIRECTORY)
	return Dir{f, path}, err
}

// Sub opens a folder below d, a component per name.
func (d Dir) Sub(names ...string) (Dir, error) {
	at := d
	for i, name := range names {
		path := filepath.Join(at.Path, name)
		f, err := OpenAt(int(at.F.Fd()), name, path, unix.O_DIRECTORY)
		if i > 0 {
			at.Close()
		}
		if err != nil {
			return Dir{}, err
		}
		at = Dir{f, path}
	}
	return at, nil
}

// Open opens a regular file of d for reading. It never blocks, whatever the file is.
func (d Dir) Open(name string) (*os.File, error) {
	return OpenRegular(int(d.F.Fd()), name, filepath.Join(d.Path, name))
}

// Read returns a file of at most limit bytes.
func (d Dir) Read(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, limit)
}

func (d Dir) Close() {
	if d.F != nil {
		d.F.Close()
	}
}

// ReadFile is [Dir.Read] of a path.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := OpenRegular(unix.AT_FDCWD, path, path)
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

// OpenRegular opens a regular file for reading, name being relative to the folder at, and
// path for messages. It never blocks, and refuses a link.
func OpenRegular(at int, name, path string) (*os.File, error) {
	f, _, err := OpenStamped(at, name, path)
	return f, err
}

// OpenStamped is OpenRegular, and returns the stamp that the file had when it was opened.
func OpenStamped(at int, name, path string) (*os.File, Stamp, error) {
	f, err := OpenAt(at, name, path, unix.O_NONBLOCK)
	if err != nil {
		return nil, Stamp{}, err
	}
	st, err := StatFile(f)
	if err == nil && !st.Regular {
		err = fmt.Errorf("opening %q: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, Stamp{}, err
	}
	return f, st, nil
}

// OpenAt opens a file for reading with more flags of open(2), without following a link at
// the end of name, which is relative to the folder at. Path is for messages.
func OpenAt(at int, name, path string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR) && linkAt(at, name):
			return nil, fmt.Errorf("opening %q: %s", path, IsLink)
		case errors.Is(err, unix.ENOTDIR):
			return nil, fmt.Errorf("opening %q: not a folder", path)
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
}

// linkAt distinguishes a link from a file where a folder was wanted: Linux reports
// ENOTDIR for both.
func linkAt(at int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// ContextReader fails once ctx is done.
type ContextReader struct {
	Ctx context.Context
	R   io.Reader
}

func (r ContextReader) Read(p []byte) (int, error) {
	if r.Ctx.Err() != nil {
		return 0, context.Cause(r.Ctx)
	}
	return r.R.Read(p)
}

// List is os.ReadDir, and empty if there is no folder.
func List(path string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if info, lerr := os.Lstat(path); err != nil && lerr == nil && !info.IsDir() {
		return nil, NotFolder(path, info)
	}
	return entries, err
}
