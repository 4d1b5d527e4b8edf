package build

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Substitution says which published images may stand for what a build needs.
// Targets are never substituted: they are what is asked to be built.
type Substitution struct {
	Judge   *Judge          // tells whether a published digest stands
	Pull    bool            // also those that out/ does not have
	Preseed preseed.Options // how to pull them; the store is filled in
	// Permit is asked before a build uses published images of refs; an error ends it
	// before it begins. Nil permits all.
	Permit func(ctx context.Context, refs []graph.Ref) error

	standing *Standing
}

// whyNot asks for the history only when it is needed.
func (s *Substitution) whyNot(ref graph.Ref) string {
	if s.standing == nil {
		s.standing = s.Judge.Standing()
	}
	return s.standing.WhyNot(ref)
}

// Unavailable is why no published image can stand for anything: there is no
// history that tells whether definitions changed. Its text names the remedy.
func (s *Substitution) Unavailable() error {
	_, err := s.Judge.openHistory()
	return err
}

// cut is what a plan looks at: from the targets down to what is taken as published,
// and nothing below that.
type cut struct {
	order  []*graph.Output
	taken  map[graph.Ref]Step           // only its action and reasons
	images map[graph.Ref][]oci.Manifest // of those that are still to be pulled
	not    map[graph.Ref]string         // why a published image does not stand for an output
}

// cut walks from the targets to what they are built from. Everything in order comes
// after what it is built from.
func (t *Tree) cut(order []*graph.Output, targets []graph.Ref, opts PlanOptions) cut {
	c := cut{order: order, taken: map[graph.Ref]Step{}, images: map[graph.Ref][]oci.Manifest{}, not: map[graph.Ref]string{}}
	if opts.Substitution == nil || len(targets) == len(order) { // targets never stand
		return c
	}
	if t.evidence != nil {
		parallel(len(order), func(i int) { t.record(order[i]) })
	}
	needed, target := map[graph.Ref]bool{}, map[graph.Ref]bool{}
	for _, ref := range targets {
		needed[ref], target[ref] = true, true
	}
	for _, o := range slices.Backward(order) {
		if !needed[o.Ref] {
			continue
		}
		if !target[o.Ref] {
			t.substitute(&c, o, opts)
		}
		if _, taken := c.taken[o.Ref]; !taken {
			for _, d := range o.Deps {
				needed[d] = true
			}
		}
	}
	c.order = slices.DeleteFunc(slices.Clone(order), func(o *graph.Output) bool { return !needed[o.Ref] })
	return c
}

// substitute takes the published image of o where that is sound: it stands, and
// nothing else lies in out/ that was built here.
func (t *Tree) substitute(c *cut, o *graph.Output, opts PlanOptions) {
	ref, sub := o.Ref, opts.Substitution
	digest, listed := t.Published[o.String()]
	rec, err := t.record(o)
	if !sub.Pull && (err != nil || rec.Origin != cache.Preseeded) {
		return
	}
	lies := false // something that its record speaks of
	if err == nil {
		l, err := t.whole(o)
		lies = err == nil && rec.Exact(l) == nil
	}
	there := lies && listed && rec.Manifests[0].Digest == digest
	switch {
	case lies && rec.Origin == cache.BuiltHere && (!there || !sub.Pull):
		return // the plan judges what was built here
	case !there && !sub.Pull:
		return
	}
	platforms := o.Request(opts.Platforms).Platforms
	why := sub.whyNot(ref)
	if why == "" && (len(platforms) != 1 || there && !oci.SamePlatform(rec.Manifests[0].Platform, platforms[0])) {
		why = fmt.Sprintf("its published image is not for %q", platforms)
	}
	if why != "" {
		c.not[ref] = why
		return
	}
	if there {
		reason := "its published digest stands, and it was built here"
		if rec.Origin == cache.Preseeded {
			reason = "its published digest stands: preseeded from " + rec.From
		}
		c.taken[ref] = Step{Action: ActionNone, Reason: reason, Taken: true}
		return
	}
	c.taken[ref] = Step{Action: ActionPreseed, Reason: "its published digest stands: nothing it is built from changed since digests/ did", Taken: true}
	c.images[ref] = []oci.Manifest{{Digest: digest, Platform: platforms[0]}}
}

// dropUnread leaves out images that nothing reads that will be built.
func (p *Plan) dropUnread() {
	read := map[graph.Ref]bool{}
	for _, s := range p.Steps {
		if s.Action == ActionBuild {
			for _, d := range s.Output.Deps {
				read[d] = true
			}
		}
	}
	p.Steps = slices.DeleteFunc(p.Steps, func(s *Step) bool { return s.Action == ActionPreseed && !read[s.Output.Ref] })
}

// permitted asks whether the published images that plan uses may be used: those to be
// pulled, and those that were.
func (r *run) permitted(ctx context.Context, plan *Plan) error {
	if r.opts.Substitution == nil || r.opts.Substitution.Permit == nil {
		return nil
	}
	var refs []graph.Ref
	for _, s := range plan.Steps {
		rec, err := r.record(s.Output)
		if s.Action == ActionPreseed || s.Taken && err == nil && rec.Origin == cache.Preseeded {
			refs = append(refs, s.Output.Ref)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	return r.opts.Substitution.Permit(ctx, refs)
}

// pull preseeds what the schedule takes from registries, while it builds what needs
// none of it. An image that cannot be had breaks its step.
func (r *run) pull(ctx context.Context, s *schedule) error {
	var images []preseed.Image
	waiting := map[string]*unit{}
	for _, u := range s.units {
		if !isImage(u) {
			continue
		}
		img, ok, err := r.publishedImage(u.steps[0].Output.Ref, r.opts.Platforms)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("digests/ has no line for %s any more", u.steps[0].Output.Ref))
		}
		images, waiting[img.Output] = append(images, img), u
	}
	if len(images) == 0 {
		return nil
	}
	opts := r.opts.Substitution.Preseed
	opts.Store, opts.Log = r.Store, r.log
	opts.Status = pulls{opts.Status, func(output string, failure error) {
		u := waiting[output]
		var f preseed.Failure
		if errors.As(failure, &f) {
			r.breaks(u.steps[0], &ImageError{&preseed.Error{Failures: []preseed.Failure{f}, Total: 1}})
		}
		s.arrive(u)
	}}
	_, err := preseed.Run(ctx, images, opts)
	if failed := (*preseed.Error)(nil); errors.As(err, &failed) {
		return nil // each was told of
	}
	return err
}

// pulls tells of each image that is settled.
type pulls struct {
	preseed.Status
	settle func(output string, failure error)
}

func (p pulls) Done(output, how string) {
	p.Status.Done(output, how)
	p.settle(output, nil)
}

func (p pulls) Fail(output, registry string, err error) {
	p.Status.Fail(output, registry, err)
	if registry == "" {
		p.settle(output, err)
	}
}

// ImageError says that the published image that was to stand for an output cannot
// be had.
type ImageError struct{ Err *preseed.Error }

func (e *ImageError) Error() string {
	return "its published image cannot be had; without --preseed it is built"
}

func (e *ImageError) Unwrap() error { return e.Err }

// pulled ends the step of an image that pull had, or could not have.
func (r *run) pulled(s *Step) bool {
	res := Result{Ref: s.Output.Ref, Outcome: Preseeded}
	if err := r.brokenBy(s); err != nil {
		res.Outcome, res.Err = Failed, err
	} else if l, err := r.Store.Layout(s.Output.Ref.String()); err != nil {
		res.Outcome, res.Err = Failed, err
	} else {
		res.Digest = l.Digest()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[res.Ref] = &res
	if res.Outcome == Failed && !r.opts.KeepGoing {
		r.stopped = true
	}
	return res.Outcome == Preseeded
}

// notTaken says what a build from source alone has to do, because it takes nobody's
// word.
func (t *Tree) notTaken(plan *Plan) string {
	preseeded := 0
	for _, s := range plan.Steps {
		if rec, err := t.record(s.Output); err == nil && rec.Origin == cache.Preseeded && s.Action == ActionBuild {
			preseeded++
		}
	}
	return fmt.Sprintf("--from-source: up to %d outputs are to be built; %d of them lie in out/ but were not built here", plan.Count(ActionBuild), preseeded)
}
