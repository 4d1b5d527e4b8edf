package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

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
	unread    []*cache.DigestsError // what of digests/ cannot be read

	// InHub returns the record of an output whose image is in the hub of this run; nil:
	// there is no hub. A View asks it for outputs that out/ has not.
	InHub func(output string) (rec cache.Record, ok bool)

	Root      *os.Root
	foreign   func(graph.Image) error
	Engines   func() []cache.EngineInfo // see [Options]; nil: there are none
	Log       *zap.Logger
	snapshots snapshots
	kept      sync.Map // *graph.Output → keptKey
	Memory    *definitions
}

// Options are the options of [Open].
type Options struct {
	State   string // folder for everything of sx's; empty: <tree>/.sx
	KeyFile string // key that records are authenticated with
	// Build tells builds of sx apart: what one learnt of the tree another must
	// learn anew. Empty: every run learns all anew.
	Build string
	Log   *zap.Logger
	// Foreign says why an image of another registry may not be built from; nil
	// refuses all. See [graph.LoadOptions].
	Foreign func(graph.Image) error
	// Engines returns the engines of the user's settings, with their names: a verdict
	// calls an engine so. It is called if something was built elsewhere. nil: there are none.
	Engines func() []cache.EngineInfo
	// All says that every output will be looked at: that begins while the
	// definitions are read.
	All bool

	Now func() time.Time // of tests
}

// Store opens the tree's store.
func (o Options) Store(dir string) (*cache.Store, error) {
	return cache.Open(dir, cache.Options{Dir: o.State, KeyFile: o.KeyFile, Build: o.Build, Now: o.Now, Log: o.Log})
}

// NoTreeError says that no StageX checkout was found.
type NoTreeError struct{ Dir string }

func (e *NoTreeError) Error() string {
	return fmt.Sprintf("there is no StageX tree in %q or above it (a folder that holds packages/)", e.Dir)
}

// OldTreeError says that a StageX tree is of a format that sx does not read.
type OldTreeError struct{ Dir string }

func (e *OldTreeError) Error() string {
	return fmt.Sprintf("the tree in %q has no stages and no package.toml: it is older than StageX 2024.12.0, and sx does not build it", e.Dir)
}

// FindTree walks up from dir to the first folder that holds packages/ with a
// stage in it. The error is a *NoTreeError when there is none, or an *OldTreeError.
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
		if isOldTree(at) {
			return "", &OldTreeError{at}
		}
		if at == filepath.Dir(at) {
			return "", &NoTreeError{abs}
		}
	}
}

// isOldTree reports whether dir is a tree without stages: packages/<name>/Containerfile.
func isOldTree(dir string) bool {
	entries, _ := os.ReadDir(filepath.Join(dir, "packages"))
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		_, err := os.Lstat(filepath.Join(dir, "packages", e.Name(), "Containerfile"))
		return err == nil
	})
}

// LoadGraph reads the definitions of the tree at dir and nothing else. Where an
// earlier run left what it learnt of them, that spares reading; where nothing can
// be learnt from, nothing is written.
func LoadGraph(ctx context.Context, dir string, opts Options) (*graph.Graph, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	memory := NewDefinitions(dir)
	if opts.Build != "" && opts.exists(dir) {
		if store, err := opts.Store(dir); err == nil {
			defer store.Close()
			memory.Attach(store)
		}
	}
	g, err := graph.Load(ctx, filesOf(root), graph.LoadOptions{Memory: memory, Foreign: opts.Foreign})
	if err == nil {
		if err := memory.Memory.Save(); err != nil && opts.Log != nil { // costs the next run time, no more
			opts.Log.Warn(err.Error())
		}
	}
	return g, err
}

// Open reads the tree at dir, the folder that holds packages/, and returns a first View
// of it, to be closed by the caller.
func Open(ctx context.Context, dir string, opts Options) (_ *View, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &Tree{Dir: dir, FS: filesOf(root), Root: root, Log: opts.Log, Memory: NewDefinitions(dir), foreign: opts.Foreign, Engines: opts.Engines}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.Log == nil {
		t.Log = zap.NewNop()
	}
	if opts.exists(dir) {
		if err := t.openStore(opts); err != nil {
			return nil, err
		}
	}
	var seen map[string]*entry
	if opts.All && t.Store != nil {
		seen, err = t.readAndLook(ctx)
	} else {
		err = t.read(ctx)
	}
	if err != nil {
		return nil, err
	}
	if t.Store == nil { // a tree that cannot be read does not get one
		if err := t.openStore(opts); err != nil {
			return nil, err
		}
	}
	return t.view(seen), nil
}

// readAndLook is read, and reads entries of all outputs meanwhile.
func (t *Tree) readAndLook(ctx context.Context) (seen map[string]*entry, err error) {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	var ahead errgroup.Group
	ahead.Go(func() error {
		seen = lookAhead(looking, t.Store)
		return nil
	})
	if err = t.read(ctx); err != nil {
		stop()
	}
	ahead.Wait()
	return seen, err
}

// read loads what the tree says.
func (t *Tree) read(ctx context.Context) (err error) {
	var digests errgroup.Group
	digests.Go(func() error {
		t.Published, t.unread = cache.LoadDigests(t.FS)
		return nil
	})
	t.Graph, err = graph.Load(ctx, t.FS, graph.LoadOptions{Memory: t.Memory, Foreign: t.foreign})
	digests.Wait()
	if err == nil {
		t.Memory.number(t.Graph)
	}
	return err
}

func (t *Tree) openStore(opts Options) (err error) {
	if t.Store, err = opts.Store(t.Dir); err != nil {
		return AsDiskFull(err)
	}
	t.Memory.Attach(t.Store)
	return nil
}

// Close saves what spares the next run work, and closes the tree.
func (t *Tree) Close() error {
	return errors.Join(t.Memory.Memory.Save(), t.close())
}

func (t *Tree) close() error {
	err := t.Root.Close()
	if t.Store != nil {
		err = errors.Join(t.Store.Close(), err)
	}
	return err
}

// AbsentError says that out/ does not hold an output.
type AbsentError struct{ Ref graph.Ref }

func (e *AbsentError) Error() string {
	return fmt.Sprintf("out/ has no %s: build it first (sx build %s)", e.Ref, e.Ref)
}

// Image opens what out/ holds of ref, whole, to be given to someone under the
// version that the tree says: it refuses another version's image. The error is an
// *AbsentError when there is none. Nothing is said of who built it.
func (t *Tree) Image(ref graph.Ref) (*cache.Image, error) {
	img, err := t.Store.Image(ref.String())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &AbsentError{ref}
	}
	if err != nil {
		return nil, fmt.Errorf("%w; sx build %s makes it anew", err, ref)
	}
	want := t.Graph.Output(ref).Tag()
	for _, i := range img.Images {
		if i.Version != "" && i.Version != want {
			img.Close()
			return nil, fmt.Errorf("out/%s is version %q, and the tree's is %q: sx build %s", ref, i.Version, want, ref)
		}
	}
	return img, nil
}

// Apart returns a Tree of the same definitions and digests/ whose results lie in store,
// which is not the checkout's: its out/ is not t's. t stays open for as long as the
// returned Tree is used; the caller closes store, and t.
func (t *Tree) Apart(store *cache.Store) *Tree {
	return &Tree{
		Dir: t.Dir, FS: t.FS, Graph: t.Graph, Store: store, Published: t.Published,
		Root: t.Root, foreign: t.foreign, Engines: t.Engines, Log: t.Log, Memory: t.Memory,
	}
}
