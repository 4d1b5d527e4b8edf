package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Published says how [Reproduce] gets the published images that it builds from.
type Published struct {
	Images  *cache.Store    // keeps them; its out/ is neither the checkout's nor that of the results
	Preseed preseed.Options // how to pull them; the store is filled in
}

// Reproduce runs p, whose steps are built from the published images of their direct
// dependencies, each without the engine's cache. Results and records go to the store of
// v, a view from before the run; the checkout's out/ is not touched. The error is
// about the run as a whole; failed steps are in the report.
func Reproduce(ctx context.Context, v *tree.View, p *plan.Plan, from Published, opts Options) (*Report, error) {
	r := newRun(v, p.Targets, newPublished(p, from), opts)
	defer r.close()
	report := &Report{View: v, Plan: p}
	var err error
	if p.Count(plan.ActionBuild) > 0 {
		if err = errors.Join(v.Store.ReadOnly(), from.Images.ReadOnly()); err == nil {
			err = r.execute(ctx, p)
			report.View = v.Look()
		}
	}
	report.Results = r.outcomes.of(p)
	return report, tree.AsDiskFull(errors.Join(err, r.outcomes.fatal))
}

// Reproduced returns the record of a build of o, found in v, that proves o from its
// inputs alone: without the cache, for platforms, from the published images of its
// direct dependencies and the tree's current definitions. If there is none, why says what is
// missing.
func Reproduced(v *tree.View, o *graph.Output, platforms []string) (rec cache.Record, why string) {
	rec, err := v.Record(o)
	switch {
	case err != nil:
		return rec, "not reproduced yet"
	case rec.Origin != cache.BuiltHere || !rec.NoCache:
		return rec, "its last build may have used a cache"
	}
	for _, d := range o.Deps {
		images, want := rec.Deps.Images(d.String()), v.Published[d.String()]
		if len(images) != 1 || want.IsZero() || images[0].Digest != want {
			return rec, fmt.Sprintf("the published image of %s is another one than at its last build", d)
		}
	}
	if current, err := v.Current(o, platforms, rec); err != nil {
		return rec, "the tree's current definitions cannot be read: " + err.Error()
	} else if !current {
		return rec, "a definition changed since its last build"
	}
	l, err := v.Check(o)
	if err == nil {
		err = rec.Exact(l)
	}
	if err != nil {
		return rec, "what its last build left is gone or damaged: " + err.Error()
	}
	return rec, ""
}

// published holds the images that the steps of a run are built from.
type published struct {
	Published
	images map[graph.Ref]*arrival // each dependency of a step that is built
}

// arrival is an image that is waited for.
type arrival struct {
	settled chan struct{} // closed when it is there, or cannot be had
	err     error         // why it cannot be had; only after settled is closed
}

func newPublished(p *plan.Plan, from Published) *published {
	r := &published{Published: from, images: map[graph.Ref]*arrival{}}
	for _, s := range p.Steps {
		if s.Action != plan.ActionBuild {
			continue
		}
		for _, d := range s.Output.Deps {
			if r.images[d] == nil {
				r.images[d] = &arrival{settled: make(chan struct{})}
			}
		}
	}
	return r
}

// DependencyError means that a step cannot be built because the published image of a
// dependency cannot be had.
type DependencyError struct {
	Ref graph.Ref
	Err error
}

// Error leaves out what the registries answered: the summary prints that in a table.
func (e *DependencyError) Error() string {
	if errors.As(e.Err, new(*preseed.Error)) {
		return fmt.Sprintf("the published image of its dependency %s cannot be had", e.Ref)
	}
	return fmt.Sprintf("the published image of its dependency %s cannot be had: %v", e.Ref, e.Err)
}

func (e *DependencyError) Unwrap() error { return e.Err }

// wait returns once the images that s is built from are there. The error is a
// *DependencyError for one that cannot be had, or ctx's cause.
func (f *published) wait(ctx context.Context, s *plan.Step) error {
	for _, d := range s.Output.Deps {
		image := f.images[d]
		select {
		case <-image.settled:
			if image.err != nil {
				return &DependencyError{d, image.err}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// pull pulls the images in the order in which the schedule would come to what is built
// from them. An image that cannot be had settles with its error, and is no error of pull.
func (f *published) pull(ctx context.Context, t *tree.Tree, s *schedule.Schedule) error {
	var images []preseed.Image
	byName, seen := map[string]*arrival{}, map[graph.Ref]bool{}
	byRank := slices.Clone(s.Units)
	slices.SortFunc(byRank, func(x, y *schedule.Unit) int { return cmp.Compare(x.Rank, y.Rank) })
	for _, u := range byRank {
		for _, d := range u.Steps[0].Output.Deps {
			if seen[d] {
				continue
			}
			seen[d] = true
			img, ok, err := publishedImage(t, d, nil)
			if err != nil || !ok {
				return errors.Join(err, fmt.Errorf("digests/ has no line for %s", d))
			}
			images, byName[img.Output] = append(images, img), f.images[d]
		}
	}
	if len(images) == 0 {
		return nil
	}
	opts := f.Preseed
	opts.Store, opts.Log = f.Images, t.Log
	opts.Status = pullWatcher{opts.Status, func(output string, failure error) {
		image := byName[output]
		if failed := (preseed.Failure{}); errors.As(failure, &failed) {
			image.err = &preseed.Error{Failures: []preseed.Failure{failed}, Total: 1}
		} else {
			image.err = failure
		}
		close(image.settled)
	}}
	_, err := preseed.Run(ctx, images, opts)
	if failed := (*preseed.Error)(nil); errors.As(err, &failed) {
		return nil
	}
	return err
}

// layout returns the image of a dependency, every blob checked.
func (f *published) layout(ctx context.Context, d graph.Ref, want oci.Digest) (cache.Layout, error) {
	l, err := f.Images.Import(ctx, d.String())
	if err == nil && l.Digest() != want {
		err = fmt.Errorf("it is %s, want %s", l.Digest(), want)
	}
	if err != nil {
		return l, fmt.Errorf("reading the published image of %s in %q: %w", d, f.Images.Out(d.String()), err)
	}
	return l, nil
}
