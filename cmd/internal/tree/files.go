package tree

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// files are the files of a checkout, of which none is reached through a link that leads
// out of it: those of [os.Root].
type files struct {
	rootFS
	root *os.Root
}

type rootFS interface {
	fs.StatFS
	fs.ReadFileFS
	fs.ReadLinkFS
	fs.ReadDirFS
}

func filesOf(root *os.Root) files { return files{root.FS().(rootFS), root} }

// folder is one folder of a checkout, to be closed. No link leads out of it.
type folder struct {
	rootFS
	root *os.Root
}

func (f folder) Close() error { return f.root.Close() }

// Sub opens a folder, so that the way to it is gone once for all files that are read.
func (f files) Sub(name string) (fs.FS, error) {
	root, err := f.root.OpenRoot(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	return folder{root.FS().(rootFS), root}, nil
}

// ReadDir reads a folder. That of a stage holds hundreds of definitions: it is read
// without the lstat of each that os.Root makes, because the kernel names the type of an
// entry with its name, and the loader wants no more (BenchmarkNoOp).
func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	if path.Dir(name) != "packages" || !fs.ValidPath(name) {
		return f.rootFS.ReadDir(name)
	}
	inRoot, err := f.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer inRoot.Close()
	fd, err := unix.FcntlInt(inRoot.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), inRoot.Name())
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}
