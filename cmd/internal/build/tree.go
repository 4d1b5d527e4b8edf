package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// Tree is an open StageX checkout.
type Tree struct {
	Dir       string
	FS        fs.FS // the checkout; no link leads out of it
	Graph     *graph.Graph
	Store     *cache.Store
	Published cache.Published

	root      *os.Root
	log       *zap.Logger
	snapshots snapshots
}

// TreeOptions of [OpenTree].
type TreeOptions struct {
	State   string // folder for everything of sx's; empty: <tree>/.sx
	KeyFile string // key that records are authenticated with
	Log     *zap.Logger
}

// NoTreeError says that no StageX checkout was found.
type NoTreeError struct{ Dir string }

func (e *NoTreeError) Error() string {
	return fmt.Sprintf("there is no StageX tree in %q or above it (a folder that holds packages/)", e.Dir)
}

// PublishedError says that a file of digests/ is not what it should be.
type PublishedError struct{ Err error }

func (e *PublishedError) Error() string { return e.Err.Error() }

func (e *PublishedError) Unwrap() error { return e.Err }

// FindTree walks up from dir to the first folder that holds packages/ with a
// stage in it. The error is a *NoTreeError when there is none.
func FindTree(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := abs; ; at = filepath.Dir(at) {
		for _, stage := range graph.Stages {
			if info, err := os.Stat(filepath.Join(at, "packages", stage)); err == nil && info.IsDir() {
				return at, nil
			}
		}
		if at == filepath.Dir(at) {
			return "", &NoTreeError{abs}
		}
	}
}

// LoadGraph reads the definitions of the tree at dir and nothing else.
func LoadGraph(ctx context.Context, dir string) (*graph.Graph, *os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	g, err := graph.Load(ctx, root.FS(), graph.LoadOptions{})
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return g, root, nil
}

// OpenTree loads the tree at dir, the folder that holds packages/.
func OpenTree(ctx context.Context, dir string, opts TreeOptions) (*Tree, error) {
	g, root, err := LoadGraph(ctx, dir)
	if err != nil {
		return nil, err
	}
	t := &Tree{Dir: dir, FS: root.FS(), Graph: g, root: root, log: opts.Log}
	if t.log == nil {
		t.log = zap.NewNop()
	}
	if t.Published, err = cache.LoadDigests(t.FS); err != nil {
		root.Close()
		return nil, &PublishedError{err}
	}
	t.Store, err = cache.Open(dir, cache.Options{Dir: opts.State, KeyFile: opts.KeyFile, Log: t.log})
	if err != nil {
		root.Close()
		return nil, fullDisk(err)
	}
	return t, nil
}

// Close saves what spares the next run work, and closes the tree.
func (t *Tree) Close() error {
	return errors.Join(t.Store.Stats().Save(), t.root.Close())
}
