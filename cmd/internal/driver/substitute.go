package driver

import (
	"context"
	"errors"
	"fmt"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Permitted calls [plan.Substitution].Permit for the published images that p uses, both
// those to be pulled and those in out/, and returns its error.
func Permitted(ctx context.Context, v *tree.View, sub *plan.Substitution, p *plan.Plan) error {
	if sub == nil || sub.Permit == nil {
		return nil
	}
	var refs []graph.Ref
	for _, s := range p.Steps {
		rec, err := v.Record(s.Output)
		if s.Action == plan.ActionPreseed || s.Substituted && err == nil && rec.Origin == cache.Preseeded {
			refs = append(refs, s.Output.Ref)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	return sub.Permit(ctx, refs)
}

// preseedImages pulls the published images of the plan while other units are built. It
// unblocks the unit of each image that is present or failed.
func (r *run) preseedImages(ctx context.Context, s *schedule.Schedule) error {
	if r.from != nil {
		return r.from.pull(ctx, r.Tree, s)
	}
	var images []preseed.Image
	waiting := map[string]*schedule.Unit{}
	for _, u := range s.Units {
		if !isImage(u) {
			continue
		}
		img, ok, err := publishedImage(r.Tree, u.Steps[0].Output.Ref, r.opts.Platforms)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("digests/ has no line for %s any more", u.Steps[0].Output.Ref))
		}
		images, waiting[img.Output] = append(images, img), u
	}
	if len(images) == 0 {
		return nil
	}
	opts := r.opts.Substitution.Preseed
	opts.Store, opts.Log = r.Store, r.Log
	opts.Status = pullWatcher{opts.Status, func(output string, failure error) {
		u := waiting[output]
		var f preseed.Failure
		if errors.As(failure, &f) {
			r.outcomes.markBroken(u.Steps[0], &ImageError{&preseed.Error{Failures: []preseed.Failure{f}, Total: 1}})
		}
		s.Unblock(u)
	}}
	_, err := preseed.Run(ctx, images, opts)
	if failed := (*preseed.Error)(nil); errors.As(err, &failed) {
		return nil // the units report it
	}
	return err
}

// pullWatcher calls done when an image is present or failed.
type pullWatcher struct {
	preseed.Status
	done func(output string, failure error)
}

func (p pullWatcher) Done(output, how string) {
	p.Status.Done(output, how)
	p.done(output, nil)
}

func (p pullWatcher) Fail(output, registry string, err error) {
	p.Status.Fail(output, registry, err)
	if registry == "" {
		p.done(output, err)
	}
}

// ImageError reports that the published image that the plan substitutes for an output
// cannot be pulled.
type ImageError struct{ Err *preseed.Error }

func (e *ImageError) Error() string {
	return "its published image could not be pulled; without --preseed it is built"
}

func (e *ImageError) Unwrap() error { return e.Err }

// finishPreseed ends the step of a published image, after preseedImages.
func (r *run) finishPreseed(s *plan.Step) bool {
	res := Result{Ref: s.Output.Ref, Outcome: plan.Preseeded}
	if err := r.outcomes.brokenBy(s); err != nil {
		res.Outcome, res.Err = plan.Failed, err
	} else if l, err := r.Store.Read(s.Output.Ref.String()); err != nil {
		res.Outcome, res.Err = plan.Failed, err
	} else {
		res.Digest = l.Digest()
	}
	r.outcomes.record(res)
	return res.Outcome == plan.Preseeded
}

// fromSourceWarning says how many outputs --from-source builds.
func fromSourceWarning(v *tree.View, p *plan.Plan) string {
	preseeded := 0
	for _, s := range p.Steps {
		if rec, err := v.Record(s.Output); err == nil && rec.Origin == cache.Preseeded && s.Action == plan.ActionBuild {
			preseeded++
		}
	}
	return fmt.Sprintf("--from-source: up to %d outputs are to be built; %d of them lie in out/ but were not built here", p.Count(plan.ActionBuild), preseeded)
}
