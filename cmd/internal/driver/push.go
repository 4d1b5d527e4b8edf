package driver

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

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// PushOptions are the options of [PushImages] and [PushSources].
type PushOptions struct {
	Pusher *preseed.Pusher
	Jobs   int // images, or definitions, at once; 0: 1
	// Done is called with each image or artifact that a registry has now. Calls do not
	// overlap.
	Done func(Pushed)
	// MoveTags moves a tag that names another image.
	MoveTags bool
	// Note is called with a message about each tag that moves.
	Note func(said string)
}

// Pushed describes an image or artifact that a registry has now.
type Pushed struct {
	Names   []string   // "<host>/<repository>:<tag>" of each tag
	Digest  oci.Digest // of an image: as digests/ lists it; of sources: of their manifest
	Present bool       // it was there before
}

// Publishable returns those of refs that may be pushed, and the reason for each that may
// not. Forced lists those that may be pushed only because of force.
func Publishable(j *verdict.Judge, refs []graph.Ref, force bool) (publishable []graph.Ref, forced, refused []Refusal) {
	for _, v := range j.All(refs) {
		r, refuse := refusalOf(j.View, v)
		switch {
		case !refuse:
		case force && !r.Final:
			forced = append(forced, r)
		default:
			refused = append(refused, r)
			continue
		}
		publishable = append(publishable, v.Ref)
	}
	return publishable, forced, refused
}

// Destination says where images are pushed, and under which tags besides the version.
type Destination struct {
	preseed.Registry
	Tags []string
}

// PushImages pushes the images of refs from out/, each under its version and the further
// tags of to. It sends nothing if an image is missing or damaged, or, without MoveTags,
// if a tag names another image: then the error is a *RefusedError. PushImages stops at
// the first failure; the next run skips the images that were pushed.
func PushImages(ctx context.Context, t *tree.Tree, refs []graph.Ref, to Destination, o PushOptions) error {
	var unreadable []error
	roots := make([]oci.Digest, len(refs))
	for i, ref := range refs {
		img, err := t.Image(ref)
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		roots[i] = img.Root.Digest
		img.Close()
	}
	if len(unreadable) > 0 {
		return errors.Join(unreadable...)
	}
	all := func(i int) []string {
		return distinct(append([]string{t.Graph.Output(refs[i]).Tag()}, to.Tags...))
	}
	if err := o.checkTags(ctx, refs, roots, to.Registry, all); err != nil {
		return err
	}
	return o.each(ctx, len(refs), func(i int) (Pushed, error) {
		img, err := t.Image(refs[i])
		if err != nil {
			return Pushed{}, err
		}
		defer img.Close()
		repository := to.Repository(refs[i].String())
		done := Pushed{Digest: img.Digest()}
		for _, tag := range all(i) {
			done.Names = append(done.Names, repository+":"+tag)
		}
		done.Present, err = o.Pusher.Push(ctx, repository, preseed.ImageContents(img), all(i))
		return done, err
	})
}

// checkTags refuses tags that name another image or, with MoveTags, notes them.
func (o PushOptions) checkTags(ctx context.Context, refs []graph.Ref, roots []oci.Digest, to preseed.Registry, tags func(i int) []string) error {
	moved := make([][]string, len(refs))
	ask := o
	ask.Done = func(Pushed) {}
	err := ask.each(ctx, len(refs), func(i int) (Pushed, error) {
		repository := to.Repository(refs[i].String())
		for _, tag := range tags(i) {
			old, err := o.Pusher.Tagged(ctx, repository, tag)
			if err != nil {
				return Pushed{}, err
			}
			if !old.IsZero() && old != roots[i] {
				moved[i] = append(moved[i], fmt.Sprintf("the tag %s:%s moves: %s → %s", repository, tag, old, roots[i]))
			}
		}
		return Pushed{}, nil
	})
	if err != nil {
		return err
	}
	refused := &RefusedError{Doing: "refusing to move tags", Remedy: "--move-tag moves them"}
	for i, said := range moved {
		for _, said := range said {
			refused.Refusals = append(refused.Refusals, Refusal{Ref: refs[i], Reason: said})
			if o.MoveTags && o.Note != nil {
				o.Note(said)
			}
		}
	}
	if len(refused.Refusals) == 0 || o.MoveTags {
		return nil
	}
	return refused
}

// PushSources pushes the sources of definitions, which must lie in fetch/, to a
// repository, with one artifact for each definition.
func PushSources(ctx context.Context, t *tree.Tree, definitions []*graph.Definition, repository string, o PushOptions) error {
	return o.each(ctx, len(definitions), func(i int) (Pushed, error) {
		d := definitions[i]
		files, err := sourceFiles(t, d)
		if err != nil {
			return Pushed{}, err
		}
		contents, tag, err := preseed.Sources(d.Stage+"/"+d.Name, d.Version, files)
		if err != nil {
			return Pushed{}, err
		}
		present, err := o.Pusher.Push(ctx, repository, contents, []string{tag})
		return Pushed{[]string{repository + ":" + tag}, contents[len(contents)-1].Digest, present}, err
	})
}

// sourceFiles returns the sources of d. They are hashed while they are read: a file that
// is not the source is an error.
func sourceFiles(t *tree.Tree, d *graph.Definition) ([]preseed.File, error) {
	var files []preseed.File
	for _, s := range d.Sources {
		info, err := fs.Stat(t.FS, s.Path)
		if err != nil {
			return nil, fmt.Errorf("pushing the sources of %s/%s: %w", d.Stage, d.Name, err)
		}
		blob := oci.Descriptor{Digest: oci.DigestFromSum(s.Hash), Size: info.Size()}
		open := func() (io.ReadCloser, error) {
			f, err := t.Root.Open(filepath.FromSlash(s.Path))
			if err != nil {
				return nil, err
			}
			return t.Store.Stats().Verified(f, blob), nil
		}
		files = append(files, preseed.File{Name: path.Base(s.Path), Content: preseed.Content{Descriptor: blob, Open: open}})
	}
	return files, nil
}

// each calls push for 0 to n-1, Jobs at once. After a failure it starts nothing more,
// and waits for the calls that run.
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
