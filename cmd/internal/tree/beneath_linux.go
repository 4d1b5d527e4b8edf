package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// beneath is the FS of a root, with one system call for each opening (openat2 with
// RESOLVE_BENEATH) where os.Root makes one for every component of a path, and one
// for each entry of a folder. It is as safe: the kernel follows no link out of the
// root either. What it refuses, and every error, is os.Root's.
type beneath struct {
	fs.ReadLinkFS // root's own
	path          string
	dir           *os.File // at path
}

// beneathRoot returns root's FS, a faster one where the kernel (Linux 5.6, and no
// sandbox that forbids it) has openat2. Closing is for what is not closed with root.
func beneathRoot(root *os.Root) (tree fs.FS, close func() error) {
	own := root.FS().(fs.ReadLinkFS)
	none := func() error { return nil }
	dir, err := root.Open(".")
	if err != nil {
		return own, none
	}
	b := &beneath{own, root.Name(), dir}
	probe, err := b.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		dir.Close()
		return own, none
	}
	probe.Close()
	return b, dir.Close
}

// open fails where root's FS may do better, or say better what is wrong.
func (b *beneath) open(name string, flags uint64) (*os.File, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(b.dir.Fd()), name, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), b.path+"/"+name), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, err
		}
	}
}

// Open implements [fs.FS].
func (b *beneath) Open(name string) (fs.File, error) {
	f, err := b.open(name, unix.O_RDONLY)
	if err != nil {
		return b.ReadLinkFS.Open(name)
	}
	return &fileBeneath{f, b, name}, nil
}

// Lstat implements [fs.ReadLinkFS].
func (b *beneath) Lstat(name string) (fs.FileInfo, error) {
	f, err := b.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return b.ReadLinkFS.Lstat(name)
	}
	defer f.Close()
	return f.Stat()
}

// Stat implements [fs.StatFS].
func (b *beneath) Stat(name string) (fs.FileInfo, error) { return fs.Stat(b.ReadLinkFS, name) }

// ReadDir implements [fs.ReadDirFS].
func (b *beneath) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := b.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fs.ReadDir(b.ReadLinkFS, name)
	}
	defer f.Close()
	entries, err := (&fileBeneath{f, b, name}).ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// fileBeneath is an open file, or folder: the entries of an os.File ask for their
// info by its path, which may lead elsewhere meanwhile.
type fileBeneath struct {
	*os.File
	in   *beneath
	name string
}

// ReadDir implements [fs.ReadDirFile].
func (f *fileBeneath) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := f.File.ReadDir(n)
	for i, e := range entries {
		entries[i] = entryBeneath{e, f}
	}
	return entries, err
}

type entryBeneath struct {
	fs.DirEntry
	of *fileBeneath
}

// Info implements [fs.DirEntry].
func (e entryBeneath) Info() (fs.FileInfo, error) {
	return e.of.in.Lstat(path.Join(e.of.name, e.Name()))
}
