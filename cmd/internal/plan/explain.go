package plan

import (
	"context"
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Explanation says why an output would be built, or why not.
type Explanation struct {
	Ref    graph.Ref
	Action Action
	// Chain leads from the output, over one dependency after the other, to the root
	// cause. It is empty for an output that is up to date.
	Chain []Cause
	// Others lists the other outputs in its closure with a reason of their own: they
	// would be built even without the root cause. Outputs that were never built are
	// counted in Never instead.
	Others []Cause
	Never  int
	// Closure counts the outputs in its closure, without itself.
	Closure int
	// Images lists the images of other registries in its closure, which no build
	// here can prove.
	Images []graph.Image
	// Record says how the image in out/ was made, nil if that is unknown.
	Record *cache.Record
}

// Cause is one link of a chain: why an output will be built or, if Built is set, why
// it was built and got another digest.
type Cause struct {
	Ref     graph.Ref
	Action  Action    // "" for a finished build
	Built   time.Time // when that build finished
	Reason  string
	Changes []Change
}

// Explain plans targets and follows the reason of each to its root, also through
// finished builds: an output may be stale because a dependency's digest changed,
// which changed because, two days ago, one of its files had.
func Explain(ctx context.Context, v *tree.View, targets []graph.Ref, opts Options) ([]Explanation, error) {
	plan, err := New(ctx, v, targets, opts)
	if err != nil {
		return nil, err
	}
	steps := map[graph.Ref]*Step{}
	for _, s := range plan.Steps {
		steps[s.Output.Ref] = s
	}
	var all []Explanation
	for _, ref := range targets {
		all = append(all, explainOne(v, steps, ref))
	}
	return all, nil
}

func explainOne(v *tree.View, steps map[graph.Ref]*Step, ref graph.Ref) Explanation {
	e := Explanation{Ref: ref, Action: steps[ref].Action}
	if rec, err := v.Record(v.Graph.Output(ref)); err == nil {
		e.Record = &rec
	}
	closure := v.Graph.Closure([]graph.Ref{ref})
	e.Closure = len(closure) - 1
	e.Images = v.Graph.Images(closure)
	if e.Action == ActionNone {
		return e
	}
	root := ref
	for ; ; root = steps[root].Because {
		e.Chain = append(e.Chain, causeOf(steps[root]))
		if steps[root].Because == (graph.Ref{}) {
			break
		}
	}
	e.Chain = append(e.Chain, earlierBuilds(v.Store, e.Chain[len(e.Chain)-1].Changes)...)
	for _, other := range closure {
		s := steps[other]
		switch {
		case s == nil: // only a substituted output depends on it
		case s.Action == ActionNone || s.Because != (graph.Ref{}) || other == root:
		case s.Reason == neverBuilt:
			e.Never++
		default:
			e.Others = append(e.Others, causeOf(s))
		}
	}
	return e
}

// causeOf returns the cause of a step that is planned.
func causeOf(s *Step) Cause {
	return Cause{Ref: s.Output.Ref, Action: s.Action, Reason: s.Reason, Changes: s.Changes}
}

// earlierBuilds follows changes that are all of dependencies' digests back through
// the builds that made those digests, as far as their proofs and inputs are kept.
func earlierBuilds(store *cache.Store, changes []Change) (chain []Cause) {
	seen := map[Change]bool{}
	for {
		dep, ok := onlyDependency(changes)
		if !ok || seen[dep] {
			return chain
		}
		seen[dep] = true
		cause, ok := causeOfRebuild(store, dep)
		if !ok {
			return chain
		}
		chain, changes = append(chain, cause), cause.Changes
	}
}

// onlyDependency returns the first of changes, if all are of dependencies.
func onlyDependency(changes []Change) (Change, bool) {
	for _, c := range changes {
		if c.Kind != "dependency" || c.Was == "" || c.Now == "" {
			return Change{}, false
		}
	}
	if len(changes) == 0 {
		return Change{}, false
	}
	return changes[0], true
}

// causeOfRebuild says why a dependency's digest changed, if both digests were built
// here or the new one was not.
func causeOfRebuild(store *cache.Store, dep Change) (Cause, bool) {
	ref, err := graph.ParseRef(dep.Name)
	now, parsed := oci.ParseDigest(dep.Now)
	if err != nil || parsed != nil {
		return Cause{}, false
	}
	rec, proven := store.Proof(dep.Name, now)
	if !proven {
		return Cause{Ref: ref, Reason: "what is in out/ now was not built here"}, true
	}
	cause := Cause{Ref: ref, Built: rec.Finished}
	was, err := oci.ParseDigest(dep.Was)
	old, proven := store.Proof(dep.Name, was)
	switch {
	case err != nil || !proven:
		cause.Reason = fmt.Sprintf("something changed since %s, which was not built here", text.Abbreviate(dep.Was))
	case old.Key == rec.Key:
		cause.Reason = "it is not reproducible: the same inputs gave another digest"
	default:
		cause.Changes = changesBetween(store, old, rec)
		cause.Reason = sentence(cause.Changes)
	}
	return cause, true
}

// changesBetween lists the changes from one build to another.
func changesBetween(store *cache.Store, was, now cache.Record) []Change {
	var parts tree.KeyParts
	if store.Inputs(now.Key, &parts) != nil {
		parts = tree.KeyParts{Deps: tree.ImageSets(now.Deps), Probe: now.Engine.Probe}
		return depChanges(depTexts(tree.ImageSets(was.Deps)), depTexts(parts.Deps))
	}
	return changesSince(store, was, parts)
}
