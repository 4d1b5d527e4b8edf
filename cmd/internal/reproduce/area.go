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

	opts tree.Options
	temp *cache.TempDir // that holds the results, which are removed with it; nil: they stay
}

// Open opens the area of t, and makes it first if necessary. With fromSeed it is the one
// of builds from the seed. opts are those that t was opened with; the caller closes the
// area before t.
func Open(t *tree.Tree, opts tree.Options, fromSeed bool) (*Area, error) {
	built, err := openStore(t, opts, map[bool]string{true: "seed", false: "built"}[fromSeed], "")
	if err != nil {
		return nil, err
	}
	a := &Area{Tree: t.Apart(built), opts: opts}
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

// Aside returns an area for builds that are not as the definitions say: from the published
// images of a, with results, records and an engine of its own, all of which Close removes.
// The caller closes it before a.
func (a *Area) Aside() (*Area, error) {
	temp, err := a.Tree.Store.TempDir("varied")
	if err != nil {
		return nil, err
	}
	// A build's dependencies are given to the engine from the blobs of its store, and those of
	// the images are where a's are.
	s, err := cache.Open(temp.Path, cache.Options{Blobs: a.Tree.Store.Dir("blobs"), KeyFile: a.opts.KeyFile, Build: a.opts.Build, Now: a.opts.Now, Log: a.opts.Log})
	if err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	return &Area{Tree: a.Tree.Apart(s), Images: a.Images, opts: a.opts, temp: temp}, nil
}

// Varied reports whether a is for builds that are not as the definitions say.
func (a *Area) Varied() bool { return a.temp != nil }

// Close saves what spares the next run work, or removes what is not to be kept.
func (a *Area) Close() error {
	err := a.Tree.Store.Close()
	if a.temp != nil {
		return errors.Join(err, a.temp.Close())
	}
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
