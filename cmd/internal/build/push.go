package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// PushOptions of [Tree.PushImages] and [Tree.PushSources].
type PushOptions struct {
	Pusher *preseed.Pusher
	Jobs   int // images, or definitions, at once; 0: 1
	// Done is told what a registry has now. Calls do not overlap.
	Done func(Pushed)
}

// Pushed is what a registry has now.
type Pushed struct {
	Name    string       // "<host>/<repository>:<tag>"
	Digest  cache.Digest // of an image: as digests/ lists it; of sources: of their manifest
	Present bool         // it was there before
}

// PushImages gives what out/ holds of refs to the namespace, each under its version
// and the further tags. Before anything is sent, all must be there and whole. It
// stops at the first failure: what was pushed is passed over by the next run.
func (t *Tree) PushImages(ctx context.Context, refs []graph.Ref, to preseed.Registry, tags []string, o PushOptions) error {
	var unfit []error
	for _, ref := range refs {
		img, err := t.Image(ref)
		if err != nil {
			unfit = append(unfit, err)
			continue
		}
		img.Close()
	}
	if len(unfit) > 0 {
		return errors.Join(unfit...)
	}
	return o.each(ctx, len(refs), func(i int) (Pushed, error) {
		img, err := t.Image(refs[i])
		if err != nil {
			return Pushed{}, err
		}
		defer img.Close()
		repository := to.Repository(refs[i].String())
		all := append([]string{t.Graph.Output(refs[i]).Tag()}, tags...)
		present, err := o.Pusher.Push(ctx, repository, preseed.ImageContents(img), distinct(all))
		return Pushed{repository + ":" + all[0], img.Digest(), present}, err
	})
}

// PushSources gives the sources of definitions, which must lie in fetch/, to a
// repository, with an artifact for each definition.
func (t *Tree) PushSources(ctx context.Context, definitions []*graph.Definition, repository string, o PushOptions) error {
	return o.each(ctx, len(definitions), func(i int) (Pushed, error) {
		d := definitions[i]
		files, err := t.sourceFiles(d)
		if err != nil {
			return Pushed{}, err
		}
		contents, tag, err := preseed.Sources(d.Stage+"/"+d.Name, d.Version, files)
		if err != nil {
			return Pushed{}, err
		}
		present, err := o.Pusher.Push(ctx, repository, contents, []string{tag})
		return Pushed{repository + ":" + tag, contents[len(contents)-1].Digest, present}, err
	})
}

// sourceFiles are hashed as they are read: what is not the source is an error.
func (t *Tree) sourceFiles(d *graph.Definition) ([]preseed.File, error) {
	var files []preseed.File
	for _, s := range d.Sources {
		info, err := fs.Stat(t.FS, s.Path)
		if err != nil {
			return nil, fmt.Errorf("pushing the sources of %s/%s: %w", d.Stage, d.Name, err)
		}
		blob := cache.Descriptor{Digest: cache.DigestFromSum(s.Hash), Size: info.Size()}
		open := func() (io.ReadCloser, error) {
			f, err := t.root.Open(filepath.FromSlash(s.Path))
			if err != nil {
				return nil, err
			}
			return t.Store.Stats().Verified(f, blob), nil
		}
		files = append(files, preseed.File{Name: path.Base(s.Path), Content: preseed.Content{Descriptor: blob, Open: open}})
	}
	return files, nil
}

// each pushes so many at once. After a failure nothing is begun, and what is on its
// way is finished.
func (o PushOptions) each(ctx context.Context, n int, push func(i int) (Pushed, error)) error {
	var mu sync.Mutex
	var failed atomic.Bool
	var workers errgroup.Group
	workers.SetLimit(max(o.Jobs, 1))
	for i := range n {
		workers.Go(func() error {
			if failed.Load() || ctx.Err() != nil {
				return nil
			}
			done, err := push(i)
			if err != nil {
				failed.Store(true)
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			o.Done(done)
			return nil
		})
	}
	if err := workers.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// distinct keeps the first of equal tags.
func distinct(tags []string) []string {
	var out []string
	for _, t := range tags {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}
