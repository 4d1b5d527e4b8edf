package reproduce

import (
	"errors"
	"fmt"
	"os"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// Area is where a proof is kept, in .sx/reproduce/ of a checkout: apart from what builds
// leave there, so that neither influences the other.
type Area struct {
	Tree   *tree.Tree   // of the checkout's definitions; its out/ has what was built here
	Images *cache.Store // the published images that were built from; nil from the seed
}

// Open opens the area of t, and makes it first if necessary. With fromSeed it is the one
// of builds from the seed. opts are those that t was opened with; the caller closes the
// area before t.
func Open(t *tree.Tree, opts tree.Options, fromSeed bool) (*Area, error) {
	built, err := openStore(t, opts, map[bool]string{true: "seed", false: "built"}[fromSeed], "")
	if err != nil {
		return nil, err
	}
	a := &Area{Tree: t.Apart(built)}
	if fromSeed {
		return a, nil
	}
	if a.Images, err = openStore(t, opts, "images", built.Dir("blobs")); err != nil {
		return nil, errors.Join(err, built.Close())
	}
	return a, nil
}

// openStore opens a store in the area, with the shared blobs in a folder of their own if
// blobs is "".
func openStore(t *tree.Tree, opts tree.Options, name, blobs string) (*cache.Store, error) {
	if err := t.Store.ReadOnly(); err != nil {
		return nil, err
	}
	dir, err := t.Store.Folder("reproduce", name)
	if err != nil {
		return nil, err
	}
	s, err := cache.Open(dir, cache.Options{Blobs: blobs, KeyFile: opts.KeyFile, Build: opts.Build, Now: opts.Now, Log: opts.Log})
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", dir, tree.AsDiskFull(err))
	}
	return s, nil
}

// Close saves what spares the next run work.
func (a *Area) Close() error {
	err := a.Tree.Store.Close()
	if a.Images != nil {
		err = errors.Join(a.Images.Close(), err)
	}
	return err
}

// Remove removes all that was kept for t: images, results and their records. The error
// is [cache.ErrInUse] while another sx works in the tree.
func Remove(t *tree.Tree) error {
	return t.Store.Alone(func() error {
		if err := os.RemoveAll(t.Store.Dir("reproduce")); err != nil {
			return fmt.Errorf("removing what was reproduced: %w", err)
		}
		return nil
	})
}
