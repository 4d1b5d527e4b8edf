package inspect

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"
)

// File is one name in an image.
type File struct {
	Path    string // from the root, "/usr/bin/curl", as the image has it
	Type    string // "file", "folder", "link", "device", "fifo" or "other"
	Mode    int64  // permissions, and the bits for setuid, setgid and sticky
	UID     int
	GID     int
	Size    int64  // of a file, in bytes
	Target  string // of a symbolic link, as written
	ModTime time.Time

	node *node
}

// ErrNoFile says that an image has nothing at a path.
type ErrNoFile struct{ Path string }

func (e *ErrNoFile) Error() string { return fmt.Sprintf("there is no %q in it", e.Path) }

// Walk calls each for what lies at a path and below, sorted: a folder comes before what is
// in it. Symbolic links in the path are followed inside the image, those below it are not.
func (t *Tree) Walk(name string, each func(File) error) error {
	n, err := t.lookup(name)
	if err != nil {
		return err
	}
	clean := path.Clean("/" + name)
	if clean != "/" || !n.folder() {
		if err := each(newFile(clean, n)); err != nil {
			return err
		}
	}
	return walkBelow(clean, n, each)
}

func walkBelow(name string, n *node, each func(File) error) error {
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		child, at := n.children[base], path.Join(name, "/", base)
		if err := each(newFile(at, child)); err != nil {
			return err
		}
		if err := walkBelow(at, child, each); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) lookup(name string) (*node, error) {
	n, err := t.find(name)
	if errors.Is(err, errAbsent) {
		return nil, &ErrNoFile{path.Clean("/" + name)}
	}
	return n, err
}

// File returns what lies at a path, following symbolic links inside the image.
func (t *Tree) File(name string) (File, error) {
	n, err := t.lookup(name)
	if err != nil {
		return File{}, err
	}
	return newFile(path.Clean("/"+name), n), nil
}

// Copy writes the content of a regular file. The layer that holds it is read to its end: an
// error may come after all bytes were written, and says that they are not to be trusted.
func (t *Tree) Copy(ctx context.Context, w io.Writer, f File) error {
	if f.Type != "file" {
		return fmt.Errorf("%q is a %s, and has no content", f.Path, f.Type)
	}
	in := f.node.inode
	return eachEntry(ctx, t.image.Blobs, t.image.Layers[in.from], func(seq int64, _ *tar.Header, r io.Reader) error {
		if seq != in.entry {
			return nil
		}
		_, err := io.Copy(w, r)
		return err
	})
}

func newFile(name string, n *node) File {
	h := n.header
	f := File{Path: name, Type: typeWord(h.Typeflag), Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, ModTime: h.ModTime, node: n}
	switch f.Type {
	case "file":
		f.Size = h.Size
	case "link":
		f.Target = h.Linkname
	}
	return f
}

func typeWord(flag byte) string {
	switch flag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return "file"
	case tar.TypeDir:
		return "folder"
	case tar.TypeSymlink:
		return "link"
	case tar.TypeChar, tar.TypeBlock:
		return "device"
	case tar.TypeFifo:
		return "fifo"
	}
	return "other"
}

// ModeString returns the type and the permissions as ls -l prints them, "-rwsr-xr-x".
func (f File) ModeString() string {
	first, known := map[string]string{"file": "-", "folder": "d", "link": "l", "device": "c", "fifo": "p"}[f.Type]
	if !known {
		first = "?"
	}
	letters := []byte(fs.FileMode(f.Mode & 0o777).String()[1:])
	for i, special := range []struct{ executable, not byte }{{'s', 'S'}, {'s', 'S'}, {'t', 'T'}} {
		if f.Mode&(0o4000>>i) == 0 {
			continue
		}
		if at := 3*i + 2; letters[at] == 'x' {
			letters[at] = special.executable
		} else {
			letters[at] = special.not
		}
	}
	return first + string(letters)
}
