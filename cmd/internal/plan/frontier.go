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

// Substitution lets a plan use published images instead of building dependencies.
// Targets are never substituted: the user asked to build them.
type Substitution struct {
	Judge   *verdict.Judge  // its Baseline decides which images are reusable
	Pull    bool            // also images that out/ does not have
	Preseed preseed.Options // how to pull them; the run sets Store
	// Permit is called before a build uses published images of refs; its error ends the
	// build before it begins. Nil permits all.
	Permit func(ctx context.Context, refs []graph.Ref) error

	baseline *verdict.Baseline
}

// Reusable is [verdict.Baseline.Reusable]. The first call opens the history.
func (s *Substitution) Reusable(ref graph.Ref) (reason string, ok bool) {
	if s.baseline == nil {
		s.baseline = s.Judge.Baseline()
	}
	return s.baseline.Reusable(ref)
}

// Unavailable returns why no published image can be substituted: without a history it
// is unknown whether definitions changed. Its text names the remedy.
func (s *Substitution) Unavailable() error {
	_, err := s.Judge.OpenHistory()
	return err
}

// frontier is the part of the graph that a plan covers: from the targets down to the
// substituted outputs, and nothing below those.
type frontier struct {
	order       []*graph.Output
	substituted map[graph.Ref]Step           // only Action, Reason and Substituted are set
	images      map[graph.Ref][]oci.Manifest // of substituted outputs that must be pulled
	rejected    map[graph.Ref]string         // why a published image is not substituted
}

// findFrontier walks from the targets to their dependencies. In order, dependencies
// come before dependents.
func findFrontier(v *tree.View, order []*graph.Output, targets []graph.Ref, opts Options) frontier {
	f := frontier{order: order, substituted: map[graph.Ref]Step{}, images: map[graph.Ref][]oci.Manifest{}, rejected: map[graph.Ref]string{}}
	if opts.Substitution == nil || len(targets) == len(order) { // all are targets
		return f
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
			f.substitute(v, o, opts)
		}
		if _, ok := f.substituted[o.Ref]; !ok {
			for _, d := range o.Deps {
				needed[d] = true
			}
		}
	}
	f.order = slices.DeleteFunc(slices.Clone(order), func(o *graph.Output) bool { return !needed[o.Ref] })
	return f
}

// substitute substitutes the published image of o if it is reusable, and if out/ holds
// no other image of o that was built here.
func (f *frontier) substitute(v *tree.View, o *graph.Output, opts Options) {
	ref, sub := o.Ref, opts.Substitution
	digest, listed := v.Published[o.String()]
	rec, err := v.Record(o)
	if !sub.Pull && (err != nil || rec.Origin != cache.Preseeded) {
		return
	}
	intact := false // out/ holds what the record says
	if err == nil {
		l, err := v.Check(o)
		intact = err == nil && rec.Exact(l) == nil
	}
	present := intact && listed && rec.Manifests[0].Digest == digest
	switch {
	case intact && rec.Origin == cache.BuiltHere && (!present || !sub.Pull):
		return // it is up to date or not, as any output that was built here
	case !present && !sub.Pull:
		return
	}
	platforms := o.Request(opts.Platforms).Platforms
	why, ok := sub.Reusable(ref)
	if ok && (len(platforms) != 1 || present && !oci.SamePlatform(rec.Manifests[0].Platform, platforms[0])) {
		why, ok = fmt.Sprintf("its published image is not for %q", platforms), false
	}
	switch {
	case !ok:
		f.rejected[ref] = why
	case present:
		from := "it was built here"
		if rec.Origin == cache.Preseeded {
			from = "preseeded from " + rec.From
		}
		f.substituted[ref] = Step{Action: ActionNone, Reason: "its published image is substituted: " + from, Substituted: true}
	default:
		f.substituted[ref] = Step{Action: ActionPreseed, Reason: "its published image can be substituted: no definition in its closure changed since digests/ did", Substituted: true}
		f.images[ref] = []oci.Manifest{{Digest: digest, Platform: platforms[0]}}
	}
}

// dropUnread drops images to be pulled on which no step that builds depends.
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
