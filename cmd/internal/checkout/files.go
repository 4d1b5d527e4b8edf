package checkout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// Limits of a tree. StageX's largest has 8,475 files of 7 MB, at most 6 folders deep.
const (
	maxEntries = 100_000
	maxBytes   = 256 << 20
	maxDepth   = 64
)

// own are the folders at a tree's root that sx and its users fill.
var own = []string{".sx", "fetch", "out"}

// walk visits the entries of a commit's tree, folders before what they hold.
type walk struct {
	ctx     context.Context
	objects *history.Received
	visit   func(name string, e object.TreeEntry, data []byte) error // data is of files and links
	entries int
	bytes   int64
}

// tree visits the folder of a hash, which is called dir, "" for the root.
func (w *walk) tree(hash plumbing.Hash, dir string, depth int) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	t, err := w.objects.Tree(hash)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("folders are more than %d deep", maxDepth)
	}
	for _, e := range t.Entries {
		if err := w.entry(e, dir, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(e object.TreeEntry, dir string, depth int) error {
	name := path.Join(dir, e.Name)
	if w.entries++; w.entries > maxEntries {
		return fmt.Errorf("it has more than %d files and folders", maxEntries)
	}
	if err := checkName(e.Name, dir); err != nil {
		return err
	}
	switch e.Mode {
	case filemode.Dir:
		if err := w.visit(name, e, nil); err != nil {
			return err
		}
		return w.tree(e.Hash, name, depth+1)
	case filemode.Submodule: // an empty folder, as git leaves it
		return w.visit(name, e, nil)
	case filemode.Regular, filemode.Deprecated, filemode.Executable, filemode.Symlink:
	default:
		return fmt.Errorf("%.200q has the mode %s, which git does not make", name, e.Mode)
	}
	data, err := w.objects.File(e.Hash)
	if err != nil {
		return fmt.Errorf("%.200q: %w", name, err)
	}
	if w.bytes += int64(len(data)); w.bytes > maxBytes {
		return fmt.Errorf("its files have more than %d bytes", int64(maxBytes))
	}
	if e.Mode == filemode.Symlink {
		if err := checkLink(string(data)); err != nil {
			return fmt.Errorf("%.200q is a link to %.200q, %w", name, data, err)
		}
	}
	return w.visit(name, e, data)
}

// checkName refuses names that are no name of a file, and those that mean something to git
// or sx.
func checkName(name, dir string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("in %.200q is an entry called %.200q, which is no name", "/"+dir, name)
	case strings.EqualFold(name, ".git") || dir == "" && strings.EqualFold(name, ".sx"):
		return fmt.Errorf("in %.200q is an entry called %.200q, which is not the tree's to have", "/"+dir, name)
	}
	return nil
}

// checkLink refuses targets that could lead out of the tree: absolute ones, and those that
// go up by way of another link. Upwards from the link's own folder, whose path has no link
// in it, a target may go only at its beginning.
func checkLink(target string) error {
	if target == "" || path.IsAbs(target) || strings.ContainsRune(target, 0) {
		return errors.New("which leads out of the tree")
	}
	below := false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == ".." && below:
			return errors.New("which goes down and up again")
		case part != ".." && part != "." && part != "":
			below = true
		}
	}
	return nil
}

// leavesTree reports whether a link in a folder of the tree goes up beyond its root.
func leavesTree(dir, target string) bool {
	at := path.Join(dir, target)
	return at == ".." || strings.HasPrefix(at, "../")
}

// write writes a commit's tree into the empty folder at dir.
func write(ctx context.Context, objects *history.Received, commit *object.Commit, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := &walk{ctx: ctx, objects: objects, visit: func(name string, e object.TreeEntry, data []byte) error {
		if err := writeEntry(root, name, e, data); err != nil {
			return fmt.Errorf("writing %.200q: %w", name, err)
		}
		return nil
	}}
	return w.tree(commit.TreeHash, "", 0)
}

func writeEntry(root *os.Root, name string, e object.TreeEntry, data []byte) error {
	switch e.Mode {
	case filemode.Dir, filemode.Submodule:
		return root.Mkdir(name, 0o755)
	case filemode.Symlink:
		if leavesTree(path.Dir(name), string(data)) {
			return fmt.Errorf("it is a link to %.200q, out of the tree", data)
		}
		return root.Symlink(string(data), name)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, permissions(e.Mode))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func permissions(m filemode.FileMode) fs.FileMode {
	if m == filemode.Executable {
		return 0o755
	}
	return 0o644
}

// verify checks that the folder at dir is a commit's tree: each file as it is there, and no
// other, except below the folders that sx fills.
func verify(ctx context.Context, objects *history.Received, commit *object.Commit, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	known := map[string]bool{}
	w := &walk{ctx: ctx, objects: objects, visit: func(name string, e object.TreeEntry, data []byte) error {
		known[name] = true
		if err := sameEntry(root, name, e, data); err != nil {
			return &changedError{fmt.Errorf("%.200q %w", name, err)}
		}
		return nil
	}}
	if err := w.tree(commit.TreeHash, "", 0); err != nil {
		return err
	}
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(own, name) && e.IsDir():
			return fs.SkipDir
		case name != "." && !known[name]:
			return &changedError{fmt.Errorf("%.200q is not in the commit", name)}
		}
		return nil
	})
}

// changedError reports that the tree on the disk is not the commit's.
type changedError struct{ error }

// sameEntry returns how a file differs from the commit's.
func sameEntry(root *os.Root, name string, e object.TreeEntry, data []byte) error {
	info, err := root.Lstat(name)
	if err != nil {
		return fmt.Errorf("cannot be looked at: %w", err)
	}
	mode := info.Mode()
	switch e.Mode {
	case filemode.Dir, filemode.Submodule:
		if !mode.IsDir() {
			return errors.New("is no folder")
		}
		return nil
	case filemode.Symlink:
		if target, err := root.Readlink(name); err != nil || target != string(data) {
			return errors.New("is not the link that it was")
		}
		return nil
	}
	if !mode.IsRegular() || mode&0o100 != permissions(e.Mode)&0o100 || info.Size() != int64(len(data)) {
		return errors.New("is not the file that it was")
	}
	f, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	defer f.Close()
	now, err := io.ReadAll(io.LimitReader(f, int64(len(data))+1))
	if err == nil && !bytes.Equal(now, data) {
		err = errors.New("was changed")
	}
	return err
}
