package history

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
)

const (
	// alternates names object folders anywhere on the disk; git follows them, this package does not.
	alternates = "objects/info/alternates"

	// maxRef bounds HEAD and each file below refs/, maxMeta packed-refs and the list of shallow commits. In bytes.
	maxRef  = 4 << 10
	maxMeta = 16 << 20
)

// rootFS is a git folder as go-git wants it, over an os.Root: nothing outside can be opened, nothing can be written.
type rootFS struct {
	readOnly
	root   *os.Root
	listed *int // entries of folders that were listed
}

var _ billy.Filesystem = rootFS{}

func (r rootFS) Open(name string) (billy.File, error) {
	name = local(name)
	limit := int64(maxRef)
	if name == "packed-refs" || name == "shallow" {
		limit = maxMeta
	}
	f, err := readable(r.root, name, limit)
	if err != nil {
		return nil, err
	}
	return file{File: f, name: name}, nil
}

func (r rootFS) OpenFile(name string, flag int, _ os.FileMode) (billy.File, error) {
	if flag != os.O_RDONLY {
		return nil, billy.ErrReadOnly
	}
	return r.Open(name)
}

func (r rootFS) ReadDir(name string) ([]os.FileInfo, error) {
	dir, err := r.root.Open(local(name))
	if err != nil {
		return nil, err
	}
	infos, err := dir.Readdir(maxRefs + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if *r.listed += len(infos); *r.listed > maxRefs {
		err = fmt.Errorf("there are more than %d references", maxRefs)
	}
	return infos, errors.Join(err, dir.Close())
}

func (r rootFS) Stat(name string) (os.FileInfo, error)  { return r.root.Stat(local(name)) }
func (r rootFS) Lstat(name string) (os.FileInfo, error) { return r.root.Lstat(local(name)) }
func (r rootFS) Readlink(name string) (string, error)   { return r.root.Readlink(local(name)) }
func (r rootFS) Join(elem ...string) string             { return filepath.Join(elem...) }
func (r rootFS) Root() string                           { return r.root.Name() }

// local turns go-git's spellings ("/", "./refs") into what os.Root takes.
func local(name string) string {
	name = strings.TrimPrefix(filepath.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}

// file is an open file that go-git can open again by its name.
type file struct {
	*os.File
	name string
}

func (f file) Name() string              { return f.name }
func (f file) Write([]byte) (int, error) { return 0, billy.ErrReadOnly }
func (f file) Truncate(int64) error      { return billy.ErrReadOnly }
func (f file) Lock() error               { return billy.ErrNotSupported }
func (f file) Unlock() error             { return billy.ErrNotSupported }

// readOnly refuses every writing method of billy.Filesystem, and Chroot, by which go-git would enter alternates.
type readOnly struct{}

func (readOnly) Create(string) (billy.File, error)           { return nil, billy.ErrReadOnly }
func (readOnly) TempFile(string, string) (billy.File, error) { return nil, billy.ErrReadOnly }
func (readOnly) Rename(string, string) error                 { return billy.ErrReadOnly }
func (readOnly) Remove(string) error                         { return billy.ErrReadOnly }
func (readOnly) MkdirAll(string, os.FileMode) error          { return billy.ErrReadOnly }
func (readOnly) Symlink(string, string) error                { return billy.ErrReadOnly }
func (readOnly) Chroot(string) (billy.Filesystem, error)     { return nil, billy.ErrNotSupported }
