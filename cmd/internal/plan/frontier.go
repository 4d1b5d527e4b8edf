package plan

import (
	"context"
	"fmt"
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Substitution says which published images may stand for what a build needs.
// Targets are never substituted: they are what is asked to be built.
type Substitution struct {
	Judge   *verdict.Judge  // tells whether a published digest stands
	Pull    bool            // also those that out/ does not have
	Preseed preseed.Options // how to pull them; the store is filled in
	// Permit is asked before a build uses published images of refs; an error ends it
	// before it begins. Nil permits all.
	Permit func(ctx context.Context, refs []graph.Ref) error

	standing *verdict.Standing
}

// WhyNot asks for the history only when it is needed.
func (s *Substitution) WhyNot(ref graph.Ref) string {
	if s.standing == nil {
		s.standing = s.Judge.Standing()
	}
	return s.standing.WhyNot(ref)
}

// Unavailable is why no published image can stand for anything: there is no
// history that tells whether definitions changed. Its text names the remedy.
func (s *Substitution) Unavailable() error {
	_, err := s.Judge.OpenHistory()
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

// findFrontier walks from the targets to what they are built from. Everything in order comes
// after what it is built from.
func findFrontier(v *tree.View, order []*graph.Output, targets []graph.Ref, opts PlanOptions) cut {
	c := cut{order: order, taken: map[graph.Ref]Step{}, images: map[graph.Ref][]oci.Manifest{}, not: map[graph.Ref]string{}}
	if opts.Substitution == nil || len(targets) == len(order) { // targets never stand
		return c
	}
	tree.Parallel(len(order), func(i int) { v.Record(order[i]) })
	needed, target := map[graph.Ref]bool{}, map[graph.Ref]bool{}
	for _, ref := range targets {
		needed[ref], target[ref] = true, true
	}
	for _, o := range slices.Backward(order) {
		if !needed[o.Ref] {
			continue
		}
		if !target[o.Ref] {
			substitute(v, &c, o, opts)
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
func substitute(v *tree.View, c *cut, o *graph.Output, opts PlanOptions) {
	ref, sub := o.Ref, opts.Substitution
	digest, listed := v.Published[o.String()]
	rec, err := v.Record(o)
	if !sub.Pull && (err != nil || rec.Origin != cache.Preseeded) {
		return
	}
	lies := false // something that its record speaks of
	if err == nil {
		l, err := v.Check(o)
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
	why := sub.WhyNot(ref)
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
