package reproduce

import (
	"context"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Plan plans to reproduce refs in the area, see [New]. From the seed, refs must be a
// closure.
func (a *Area) Plan(ctx context.Context, refs []graph.Ref, again bool) (*Plan, error) {
	if a.Images != nil {
		return New(ctx, a.Tree.Look(), refs, again)
	}
	v := a.Tree.Look()
	targets, err := unproven(v, refs, again)
	if err != nil {
		return nil, err
	}
	p, err := plan.New(ctx, v, refs, plan.Options{Probe: buildkit.ProbeDigest})
	if err != nil {
		return nil, err
	}
	for _, s := range p.Steps {
		if s.Action == plan.ActionNone && slices.Contains(targets, s.Output.Ref) {
			s.Action, s.Reason, s.Request = plan.ActionBuild, "--again", s.Output.Request(nil)
		}
	}
	p.Targets = targets
	return &Plan{Plan: p}, nil
}

// unproven returns the outputs of a closure to be built from the seed: those that were not
// built yet without the cache from what their dependencies are now, and all that are built
// from such outputs.
func unproven(v *tree.View, closure []graph.Ref, again bool) (targets []graph.Ref, err error) {
	open := map[graph.Ref]bool{}
	for _, o := range v.Graph.Order(closure) {
		rec, rerr := v.Record(o)
		done := !again && rerr == nil && rec.Origin == cache.BuiltHere && rec.NoCache &&
			!slices.ContainsFunc(o.Deps, func(d graph.Ref) bool { return open[d] })
		if done {
			reason, err := plan.Stale(v, o, o.Platforms(nil), rec.Engine.Probe)
			if err != nil {
				return nil, err
			}
			done = reason == nil
		}
		if !done {
			open[o.Ref], targets = true, append(targets, o.Ref)
		}
	}
	slices.SortFunc(targets, graph.Ref.Compare)
	return targets, nil
}

// Run runs a plan of the area, see [driver.Reproduce] and [driver.Build].
func (a *Area) Run(ctx context.Context, p *Plan, images preseed.Options, opts driver.Options) (*driver.Report, error) {
	v := a.Tree.Look()
	if a.Images != nil {
		return driver.Reproduce(ctx, v, p.Plan, driver.Published{Images: a.Images, Preseed: images}, opts)
	}
	if len(p.Targets) == 0 {
		return &driver.Report{View: v, Plan: p.Plan}, nil
	}
	return driver.Build(ctx, v, p.Targets, opts)
}

// Judge returns the verdicts of j, which judges a view of an area, on refs, and what they
// rest on.
func Judge(j *verdict.Judge, refs []graph.Ref) ([]verdict.Verdict, Basis) {
	g := j.View.Graph
	all := j.All(g.Closure(refs))
	Taint(g, all)
	wanted := map[graph.Ref]bool{}
	for _, ref := range refs {
		wanted[ref] = true
	}
	vs := slices.DeleteFunc(slices.Clone(all), func(v verdict.Verdict) bool { return !wanted[v.Ref] })
	return vs, NewBasis(g, refs, all)
}
