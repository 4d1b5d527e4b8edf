package build

import (
	"context"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// equaliseTimes gives every up-to-date index.json one same mtime that is not
// older than any definition, so that upstream's make, which decides by mtime,
// finds nothing to do after a run. It looks at the whole tree, because a
// rebuilt dependency would otherwise be newer than dependents outside the
// selection that need no rebuild; it does so only when the times of the plan's
// outputs are off, which a no-op's are not.
func (t *Tree) equaliseTimes(ctx context.Context, plan *Plan, r *run) error {
	if ctx.Err() != nil || t.timesHold(plan) {
		return nil
	}
	var upToDate []string
	current := map[graph.Ref]bool{}
	newest := r.opts.Now()
	for _, o := range t.Graph.Order(t.Graph.All()) {
		rec, err := t.record(o)
		if err != nil {
			continue
		}
		if rec.Origin == cache.Preseeded {
			if _, err := t.layout(o); err != nil || !r.stands(o.Ref) {
				continue
			}
		} else if !allCurrent(o.Deps, current, r.stands) {
			continue
		} else if reason, err := t.stale(o, o.Request(platformsIn(rec)), rec.Engine.Probe); err != nil || reason != "" {
			continue
		}
		current[o.Ref] = true
		upToDate = append(upToDate, o.String())
		if at := t.definitionTime(o.Definition); at.After(newest) {
			newest = at
		}
	}
	return t.Store.Touch(upToDate, newest)
}

func platformsIn(rec cache.Record) []string {
	var ps []string
	for _, m := range rec.Manifests {
		ps = append(ps, m.Platform)
	}
	return ps
}

// stands reports whether a published image lies in out/, or may be left out of it,
// as the tree's digests/ has it and its definitions still say.
func (r *run) stands(ref graph.Ref) bool {
	if r.opts.Substitution == nil {
		return false
	}
	if l, err := r.layout(r.Graph.Output(ref)); err == nil && l.Digest() != r.Published[ref.String()] {
		return false
	}
	return r.opts.Substitution.whyNot(ref) == ""
}

func allCurrent(deps []graph.Ref, current map[graph.Ref]bool, stands func(graph.Ref) bool) bool {
	for _, d := range deps {
		if !current[d] && !stands(d) {
			return false
		}
	}
	return true
}

// timesHold reports whether the outputs of plan that are in out/ have one
// mtime, not older than their definitions.
func (t *Tree) timesHold(plan *Plan) bool {
	var one time.Time
	for _, s := range plan.Steps {
		at, err := t.modified(s.Output)
		if err != nil {
			continue
		}
		if one.IsZero() {
			one = at
		}
		if !at.Equal(one) || t.definitionTime(s.Output.Definition).After(at) {
			return false
		}
	}
	return true
}

// definitionTime is the newest mtime of a definition's files.
func (t *Tree) definitionTime(d *graph.Definition) time.Time {
	if r, ok := t.memory.recalled(d); ok {
		return r.newest
	}
	var newest time.Time
	snap, err := t.snapshot(d)
	if err != nil {
		return newest
	}
	for _, f := range snap.files {
		if !f.Mode.IsDir() && f.ModTime.After(newest) {
			newest = f.ModTime
		}
	}
	return newest
}
