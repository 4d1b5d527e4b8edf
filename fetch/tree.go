package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// tree is the checkout. No symbolic link is followed below its root, not even one that
// stays inside it: fetch/ must not be a link to packages/.
type tree struct{ root *os.Root }

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the tree: %w", err)
	}
	return &tree{root}, nil
}

func (t *tree) close() { t.root.Close() }

// spot is a path in the tree: its open folder and its last element. All paths begin with
// fetch/, so the folder is never the tree's root.
type spot struct {
	path string // in the tree, for messages
	dir  *os.Root
	base string
}

// spot opens the folder of p; see folder.
func (t *tree) spot(p string, make fs.FileMode) (*spot, error) {
	dir, err := t.folder(path.Dir(p), make)
	if err != nil {
		return nil, err
	}
	return &spot{path: p, dir: dir, base: path.Base(p)}, nil
}

// folder opens a folder below the root. If it does not exist, it is created with the
// mode make, regardless of the umask, and synced; if make is 0 the error is
// fs.ErrNotExist.
func (t *tree) folder(p string, make fs.FileMode) (*os.Root, error) {
	dir := t.root
	elems := strings.Split(p, "/")
	for i, elem := range elems {
		next, err := step(dir, elem, make)
		if dir != t.root {
			dir.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("opening %q: %w", path.Join(elems[:i+1]...), err)
		}
		dir = next
	}
	return dir, nil
}

func (s *spot) close() { s.dir.Close() }

var errSymlink = errors.New("is a symbolic link, which sx does not follow")

// step opens the folder name in dir, where name is one path element.
func step(dir *os.Root, name string, make fs.FileMode) (*os.Root, error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) && make != 0 {
		info, err = mkdir(dir, name, make)
	}
	switch {
	case err != nil:
		return nil, cause(err)
	case info.Mode().Type() == fs.ModeSymlink:
		return nil, errSymlink
	case !info.IsDir():
		return nil, errors.New("is not a folder")
	}
	next, err := dir.OpenRoot(name)
	if err != nil {
		return nil, cause(err)
	}
	// What was opened must be what was looked at.
	if got, err := next.Stat("."); err != nil || !os.SameFile(info, got) {
		next.Close()
		return nil, errors.New("was exchanged while being opened")
	}
	return next, nil
}

// mkdir creates a folder. It succeeds if another sx has created it meanwhile.
func mkdir(dir *os.Root, name string, mode fs.FileMode) (fs.FileInfo, error) {
	switch err := dir.Mkdir(name, mode); {
	case err == nil:
		if err := errors.Join(dir.Chmod(name, mode), syncDir(dir)); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return dir.Lstat(name)
}

// syncDir makes the entries of dir durable.
func syncDir(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// cause removes the operation and the path from an error of package os. The caller adds
// the name of the object, relative to the tree.
func cause(err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err
	}
	var lerr *os.LinkError
	if errors.As(err, &lerr) {
		return lerr.Err
	}
	return err
}
