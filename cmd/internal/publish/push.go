package publish

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
	Tags      []string
	NoVersion bool // not under the version
}

// tags returns all tags of an output.
func (d Destination) tags(o *graph.Output) []string {
	if d.NoVersion {
		return distinct(d.Tags)
	}
	return distinct(append([]string{o.Tag()}, d.Tags...))
}

// Move is a tag that names another image than the one in out/.
type Move struct {
	Ref      graph.Ref
	Name     string     // "<host>/<repository>:<tag>"
	Old, New oci.Digest // of the image index, or of an image that has none
}

func (m Move) String() string {
	return fmt.Sprintf("the tag %s moves: %s → %s", m.Name, m.Old, m.New)
}

// Moves asks the registry which tags of refs name other images than those in out/, in the
// order of refs.
func Moves(ctx context.Context, t *tree.Tree, refs []graph.Ref, to Destination, o PushOptions) ([]Move, error) {
	roots, err := rootsOf(t, refs)
	if err != nil {
		return nil, err
	}
	return o.moves(ctx, t, refs, roots, to)
}

// Tagged asks the registry for how many of refs all tags of to name the image in out/.
func Tagged(ctx context.Context, t *tree.Tree, refs []graph.Ref, to Destination, o PushOptions) (n int, err error) {
	roots, err := rootsOf(t, refs)
	if err != nil {
		return 0, err
	}
	o.Done = func(p Pushed) {
		if p.Present {
			n++
		}
	}
	err = o.each(ctx, len(refs), func(i int) (Pushed, error) {
		repository := to.Repository(refs[i].String())
		for _, tag := range to.tags(t.Graph.Output(refs[i])) {
			if d, err := o.Pusher.Tagged(ctx, repository, tag); err != nil || d != roots[i] {
				return Pushed{}, err
			}
		}
		return Pushed{Present: true}, nil
	})
	return n, err
}

// rootsOf returns the digest that each output has in its index.json.
func rootsOf(t *tree.Tree, refs []graph.Ref) ([]oci.Digest, error) {
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
	return roots, errors.Join(unreadable...)
}

// PushImages pushes the images of refs from out/, each under its version and the further
// tags of to. It sends nothing if an image is missing or damaged, or, without MoveTags,
// if a tag names another image: then the error is a *RefusedError. PushImages stops at
// the first failure; the next run skips the images that were pushed.
func PushImages(ctx context.Context, t *tree.Tree, refs []graph.Ref, to Destination, o PushOptions) error {
	roots, err := rootsOf(t, refs)
	if err != nil {
		return err
	}
	if err := o.checkTags(ctx, t, refs, roots, to); err != nil {
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
		tags := to.tags(t.Graph.Output(refs[i]))
		for _, tag := range tags {
			done.Names = append(done.Names, repository+":"+tag)
		}
		done.Present, err = o.Pusher.Push(ctx, repository, preseed.ImageContents(img), tags)
		return done, err
	})
}

// checkTags refuses tags that name another image or, with MoveTags, notes them.
func (o PushOptions) checkTags(ctx context.Context, t *tree.Tree, refs []graph.Ref, roots []oci.Digest, to Destination) error {
	moves, err := o.moves(ctx, t, refs, roots, to)
	if err != nil {
		return err
	}
	refused := &RefusedError{Doing: "refusing to move tags", Remedy: "--move-tag moves them"}
	for _, m := range moves {
		refused.Refusals = append(refused.Refusals, Refusal{Ref: m.Ref, Reason: m.String()})
		if o.MoveTags && o.Note != nil {
			o.Note(m.String())
		}
	}
	if len(refused.Refusals) == 0 || o.MoveTags {
		return nil
	}
	return refused
}

// moves is [Moves], of images with these roots.
func (o PushOptions) moves(ctx context.Context, t *tree.Tree, refs []graph.Ref, roots []oci.Digest, to Destination) (all []Move, err error) {
	moved := make([][]Move, len(refs))
	o.Done = func(Pushed) {}
	err = o.each(ctx, len(refs), func(i int) (Pushed, error) {
		repository := to.Repository(refs[i].String())
		for _, tag := range to.tags(t.Graph.Output(refs[i])) {
			old, err := o.Pusher.Tagged(ctx, repository, tag)
			if err != nil {
				return Pushed{}, err
			}
			if !old.IsZero() && old != roots[i] {
				moved[i] = append(moved[i], Move{refs[i], repository + ":" + tag, old, roots[i]})
			}
		}
		return Pushed{}, nil
	})
	return slices.Concat(moved...), err
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
