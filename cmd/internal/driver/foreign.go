package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Foreign says how a run gets images of other registries: FROM debian@sha256:….
type Foreign struct {
	Hosts   []string        // registries that images may be pulled from
	Preseed preseed.Options // how to pull them; the run sets Store
}

// ForeignError reports that an output cannot be built because an image of another
// registry could not be pulled.
type ForeignError struct {
	Image graph.Image
	Err   error
}

// Error leaves out what the registry answered, if the table of Err has it.
func (e *ForeignError) Error() string {
	if errors.As(e.Err, new(*preseed.Error)) {
		return fmt.Sprintf("the image %s could not be pulled", e.Image.Source())
	}
	return fmt.Sprintf("the image %s could not be pulled: %v", e.Image.Source(), e.Err)
}

func (e *ForeignError) Unwrap() error { return e.Err }

// errOffline is the error of an image that is not present with --offline.
var errOffline = errors.New("it is not here, and --offline forbids pulling it")

// images gets the images of other registries that a run builds from. It is safe for
// concurrent use.
type images struct {
	store   *cache.Store
	puller  *preseed.Puller
	offline bool
}

func newImages(t *tree.Tree, opts Options) *images {
	from := opts.Foreign.Preseed
	from.Store, from.Log = t.Store, t.Log
	return &images{t.Store, preseed.NewPuller(opts.Foreign.Hosts, from), opts.Offline}
}

func (i *images) close() { i.puller.Close() }

// pull pulls the images that a request names into the store, unless it has them. An error
// about one of them is a *ForeignError.
func (i *images) pull(ctx context.Context, req graph.Request) error {
	for _, image := range req.Images {
		digest, err := oci.ParseDigest(image.Digest)
		if err != nil {
			return &ForeignError{image, err}
		}
		platforms := image.Platforms(req.Platforms)
		if i.offline {
			if _, err := i.store.Pulled(digest, platforms); errors.Is(err, fs.ErrNotExist) {
				return &ForeignError{image, errOffline}
			} else if err != nil {
				return &ForeignError{image, err}
			}
			continue
		}
		err = i.puller.Pull(ctx, preseed.Foreign{Host: image.Host, Repository: image.Repository, Digest: digest, Platforms: platforms})
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, new(*preseed.Error)), errors.As(err, new(*preseed.ForeignHostError)):
			return &ForeignError{image, err}
		default:
			return err
		}
	}
	return nil
}

// pulledImages returns the images that a request names from the store.
func pulledImages(store *cache.Store, req graph.Request) (map[string]cache.Pulled, error) {
	images := map[string]cache.Pulled{}
	for _, image := range req.Images {
		digest, err := oci.ParseDigest(image.Digest)
		if err != nil {
			return nil, &ForeignError{image, err}
		}
		pulled, err := store.Pulled(digest, image.Platforms(req.Platforms))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("it was there when this run began and is damaged or gone; run it again (%w)", err)
		}
		if err != nil {
			return nil, &ForeignError{image, err}
		}
		// FROM --platform may ask for several of one name.
		pulled.Images = append(images[image.Name].Images, pulled.Images...)
		images[image.Name] = pulled
	}
	return images, nil
}

// foreignSources returns the images that a request names, as a record lists them.
func foreignSources(req graph.Request) (sources []string) {
	for _, image := range req.Images {
		sources = append(sources, image.Source())
	}
	slices.Sort(sources)
	return slices.Compact(sources)
}

// pullsAtOnce bounds the units whose images are pulled at the same time. Package preseed
// limits the requests to each registry.
const pullsAtOnce = 4

// pullImages pulls the images of all units that are certain to be built, in the order in
// which the schedule would start them.
func (p *prefetcher) pullImages(ctx context.Context) error {
	var waiting []*schedule.Unit
	for u := range p.awaitingImages {
		waiting = append(waiting, u)
	}
	slices.SortFunc(waiting, func(x, y *schedule.Unit) int { return x.Rank - y.Rank })
	errs := make([]error, len(waiting))
	var workers errgroup.Group
	workers.SetLimit(pullsAtOnce)
	for i, u := range waiting {
		workers.Go(func() error {
			if ctx.Err() == nil {
				errs[i] = p.pullFor(ctx, u, func(err error) { p.fail(u, err) })
			}
			if ctx.Err() == nil && errs[i] == nil {
				p.imagesDone(u)
			}
			return nil
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// pullFor pulls the images of u, and calls failed with a *ForeignError.
func (p *prefetcher) pullFor(ctx context.Context, u *schedule.Unit, failed func(error)) error {
	if !namesImages(u) {
		return nil
	}
	err := p.images(ctx, u.Steps[0]) // a family's are the same
	var foreign *ForeignError
	var dependency *DependencyError
	if errors.As(err, &foreign) {
		failed(foreign)
	} else if errors.As(err, &dependency) {
		failed(dependency)
	}
	return err
}

// imagesDone records that the images of u are present. If its sources are too, u may start.
func (p *prefetcher) imagesDone(u *schedule.Unit) {
	p.mu.Lock()
	delete(p.awaitingImages, u)
	last := p.missing[u] == 0
	p.mu.Unlock()
	if last {
		p.schedule.Unblock(u)
	}
}
