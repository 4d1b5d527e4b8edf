package inspect

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/layer"
)

// Image is the layers of one image for one platform.
type Image struct {
	Blobs  layer.Blobs
	Layers []oci.Descriptor // from the bottom
}

// Bounds of one image. StageX's largest has a hundred thousand entries.
const (
	maxFiles = 4 << 20 // files and folders, also those that no entry names
	maxName  = 4096    // bytes of a path, PATH_MAX of Linux
	maxDepth = 2048    // folders in each other
	maxHops  = 255     // symbolic links on the way to a file
)

// Source: the OCI image specification, layer.md, "Whiteouts".
const (
	whiteout       = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
)

// Tree is the files of an image, its layers merged.
type Tree struct {
	image Image
	root  *node
	count int // of nodes ever made
}

// node is a name in a folder.
type node struct {
	*inode
	layer    int              // that the name is of, from 0
	children map[string]*node // of a folder
}

// inode is what hard links share.
type inode struct {
	header tar.Header // the fields that a listing needs; of a hard link, those of its target
	from   int        // the layer that holds the content, from 0
	entry  int64      // number of the entry in that layer's tar, from 0
}

func (n *node) folder() bool  { return n.header.Typeflag == tar.TypeDir }
func (n *node) symlink() bool { return n.header.Typeflag == tar.TypeSymlink }

// Read reads the tars of all layers, and verifies them.
func Read(ctx context.Context, img Image) (*Tree, error) {
	t := &Tree{image: img}
	t.root = newFolder(0)
	for i, d := range img.Layers {
		err := eachEntry(ctx, img.Blobs, d, func(seq int64, h *tar.Header, _ io.Reader) error { return t.add(i, seq, h) })
		if err != nil {
			return nil, fmt.Errorf("reading layer %d (%s): %w", i+1, d.Digest, err)
		}
	}
	return t, nil
}

// eachEntry calls do for each entry of a layer, numbered from 0. The layer is verified once
// it returns nil.
func eachEntry(ctx context.Context, blobs layer.Blobs, d oci.Descriptor, do func(seq int64, h *tar.Header, r io.Reader) error) error {
	s, err := layer.Open(ctx, blobs, d)
	if err != nil {
		return err
	}
	defer s.Close()
	r, left := tar.NewReader(s.Reader), int64(layer.MaxUnpacked)
	for seq := int64(0); ; seq++ {
		h, err := r.Next()
		if err == io.EOF {
			return s.End()
		}
		if err != nil {
			return layer.EntryError(seq, err)
		}
		if left -= max(h.Size, 0); left < 0 {
			return layer.ErrLarge
		}
		if err := do(seq, h, r); err != nil {
			return layer.EntryError(seq, err)
		}
	}
}

// add puts an entry of layer number l on top of what the tree holds.
func (t *Tree) add(l int, seq int64, h *tar.Header) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	in := &inode{from: l, entry: seq, header: tar.Header{
		Typeflag: h.Typeflag, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime,
	}}
	if name == "/" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("it makes another thing of the root folder")
		}
		t.root.inode, t.root.layer = in, l
		return nil
	}
	folder, base := path.Split(name)
	if strings.HasPrefix(base, whiteout) {
		return t.whiteOut(folder, base, l)
	}
	parent, err := t.walk(folder, l)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeLink:
		return t.link(parent, base, h.Linkname, l)
	case tar.TypeXGlobalHeader:
		return nil
	}
	n := &node{inode: in, layer: l}
	if n.folder() {
		n.children = map[string]*node{}
		if before := parent.children[base]; before != nil && before.folder() {
			n.children = before.children
		}
	}
	return t.put(parent, base, n)
}

// cleanName returns a path from the root, in which ".." leads to the root at most.
func cleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("its name has %d bytes, above the limit of %d", len(name), maxName)
	}
	return path.Clean("/" + name), nil
}

func (t *Tree) put(parent *node, base string, n *node) error {
	if t.count++; t.count > maxFiles {
		return fmt.Errorf("the image has more than %d files", maxFiles)
	}
	parent.children[base] = n
	return nil
}

// link adds another name of a file, which may be of a lower layer.
func (t *Tree) link(parent *node, base, target string, l int) error {
	name, err := cleanName(target)
	if err != nil {
		return err
	}
	folder, last := path.Split(name)
	at, err := t.find(folder)
	var to *node
	if err == nil && at.folder() {
		to = at.children[last]
	}
	if to == nil || to.folder() {
		return fmt.Errorf("it is a hard link to %.200q, which is not a file of the image", target)
	}
	return t.put(parent, base, &node{inode: to.inode, layer: l})
}

// whiteOut removes what lower layers put at a name or, if it is opaque, into a folder.
func (t *Tree) whiteOut(folder, base string, l int) error {
	at, err := t.find(folder)
	if err != nil || !at.folder() {
		return nil // there is nothing to remove
	}
	if base == opaqueWhiteout {
		keepLayer(at, l)
		return nil
	}
	name := strings.TrimPrefix(base, whiteout)
	if n := at.children[name]; n != nil && !keepLayer(n, l) {
		delete(at.children, name)
	}
	return nil
}

// keepLayer removes from n all that is not of layer number l, and reports whether n
// itself is, or something in it.
func keepLayer(n *node, l int) bool {
	keep := n.layer == l
	for name, child := range maps.Clone(n.children) {
		if keepLayer(child, l) {
			keep = true
		} else {
			delete(n.children, name)
		}
	}
	return keep
}

// walk returns the folder at a path, following symbolic links inside the image, and makes
// what is missing on the way. A file that is in the way is replaced, as umoci does it.
func (t *Tree) walk(name string, l int) (*node, error) {
	return t.resolve(name, func(parent *node, base string, _ *node) (*node, error) {
		n := newFolder(l)
		return n, t.put(parent, base, n)
	})
}

// newFolder returns a folder that no entry describes.
func newFolder(l int) *node {
	h := tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}
	return &node{&inode{h, l, -1}, l, map[string]*node{}}
}

// errAbsent says that an image has no file at a path.
var errAbsent = errors.New("there is no such file")

// find returns what is at a path, following symbolic links inside the image.
func (t *Tree) find(name string) (*node, error) {
	return t.resolve(name, func(_ *node, _ string, there *node) (*node, error) {
		if there == nil {
			return nil, errAbsent
		}
		return there, nil
	})
}

// resolve follows a path from the root. If there is no folder at a name on the way, instead
// returns what is to be there; it gets what is there, or nil.
func (t *Tree) resolve(name string, instead func(parent *node, base string, there *node) (*node, error)) (*node, error) {
	at := []*node{t.root} // the folders on the way
	todo := split(name)
	for hops := 0; len(todo) > 0; {
		part, here := todo[0], at[len(at)-1]
		todo = todo[1:]
		switch {
		case part == "..":
			at = at[:max(1, len(at)-1)]
			continue
		case !here.folder():
			return nil, errAbsent
		case len(at) > maxDepth:
			return nil, fmt.Errorf("the path %.200q leads more than %d folders deep", name, maxDepth)
		}
		next := here.children[part]
		if next != nil && next.symlink() {
			if hops++; hops > maxHops {
				return nil, fmt.Errorf("the path %.200q leads over more than %d symbolic links", name, maxHops)
			}
			target := next.header.Linkname
			if len(target) > maxName {
				return nil, fmt.Errorf("a symbolic link has %d bytes, above the limit of %d", len(target), maxName)
			}
			if strings.HasPrefix(target, "/") {
				at = at[:1]
			}
			todo = append(split(target), todo...)
			continue
		}
		if next == nil || !next.folder() {
			var err error
			if next, err = instead(here, part, next); err != nil {
				return nil, err
			}
		}
		at = append(at, next)
	}
	return at[len(at)-1], nil
}

// split returns the parts of a path that are not empty or ".".
func split(name string) (parts []string) {
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}
