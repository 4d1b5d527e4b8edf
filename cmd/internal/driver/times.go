package driver

import (
	"context"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// equaliseTimes gives the index.json of each up-to-date output one same mtime, not older
// than any definition, so that upstream's make, which decides by mtime, finds nothing to
// do after a run. It covers the whole tree: otherwise a rebuilt dependency would be newer
// than its up-to-date dependents outside the selection. If the times of the plan's
// outputs are equal already, as in a no-op, it does nothing.
func equaliseTimes(ctx context.Context, v *tree.View, p *plan.Plan, opts Options) error {
	if ctx.Err() != nil || timesAreEqual(v, p) {
		return nil
	}
	tree.Parallel(len(p.Steps), func(i int) { v.Load(p.Steps[i].Output, nil) }) // which verdicts need too
	var upToDate []string
	current := map[graph.Ref]bool{}
	newest := opts.Now()
	isReusable := func(ref graph.Ref) bool { return reusable(v, opts.Substitution, ref) }
	for _, o := range v.Graph.Order(v.Graph.All()) {
		rec, err := v.Record(o)
		if err != nil {
			continue
		}
		if rec.Origin == cache.Preseeded {
			if _, err := v.Layout(o); err != nil || !isReusable(o.Ref) {
				continue
			}
		} else if !allCurrent(o.Deps, current, isReusable) {
			continue
		} else if reason, err := plan.Stale(v, o, o.Platforms(tree.PlatformsIn(rec)), rec.Engine.Probe); err != nil || reason != nil {
			continue
		}
		current[o.Ref] = true
		if rec.Origin == cache.InHub {
			continue // make sees nothing of it
		}
		upToDate = append(upToDate, o.String())
		if at := v.DefinitionTime(o.Definition); at.After(newest) {
			newest = at
		}
	}
	return v.Store.Touch(upToDate, newest)
}

// reusable reports whether the published image of ref may be used instead of a build,
// and out/ holds no other image of ref.
func reusable(v *tree.View, sub *plan.Substitution, ref graph.Ref) bool {
	if sub == nil {
		return false
	}
	if l, err := v.Layout(v.Graph.Output(ref)); err == nil && l.Digest() != v.Published[ref.String()] {
		return false
	}
	_, ok := sub.Reusable(ref)
	return ok
}

// allCurrent reports whether each dependency is up to date or reusable.
func allCurrent(deps []graph.Ref, current map[graph.Ref]bool, reusable func(graph.Ref) bool) bool {
	for _, d := range deps {
		if !current[d] && !reusable(d) {
			return false
		}
	}
	return true
}

// timesAreEqual reports whether the plan's outputs in out/ have one same mtime, not older
// than their definitions.
func timesAreEqual(v *tree.View, plan *plan.Plan) bool {
	var one time.Time
	for _, s := range plan.Steps {
		at, err := v.Modified(s.Output)
		if err != nil {
			continue
		}
		if one.IsZero() {
			one = at
		}
		if !at.Equal(one) || v.DefinitionTime(s.Output.Definition).After(at) {
			return false
		}
	}
	return true
}
