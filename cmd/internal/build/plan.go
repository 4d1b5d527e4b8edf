package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// Action is what a plan does with an output.
type Action string

// The actions.
const (
	ActionBuild Action = "build"      // from source
	ActionNone  Action = "up to date" // nothing
)

// Step is one output of a plan.
type Step struct {
	Output  *graph.Output
	Request graph.Request
	Action  Action
	// Reason is a sentence for a person: why this action.
	Reason string
	// Because is the dependency that makes it necessary, zero when the
	// output itself does. Its rebuild may give the old digest: then this
	// step is dropped when its turn comes.
	Because graph.Ref
	// Expected is how long building it should take, of a family how long until
	// this member is there; Guessed says that no earlier build tells. Both are
	// known before [Status].Begin.
	Expected time.Duration
	Guessed  bool
	// Family is the steps that run as one with this one, itself among them, in
	// plan order: the members of one definition share their sources and their
	// compile, start together and take one job of -j; each ends by itself. All
	// of them have the same slice. Nil for a step that runs alone. It is known
	// before [Status].Begin.
	Family []*Step
}

// Plan is what a build would do: every output in the closure of the targets,
// each after all it is built from.
type Plan struct {
	Targets []graph.Ref
	Steps   []*Step
}

// Count returns how many steps have the action.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, s := range p.Steps {
		if s.Action == a {
			n++
		}
	}
	return n
}

// PlanOptions of [Tree.Plan].
type PlanOptions struct {
	Platforms []string // the user's choice; empty: linux/amd64
	NoCache   bool     // build the targets whatever their records say
	// Probe is the probe result of the engine that would build.
	Probe string
}

// Plan decides for every output in the closure of targets whether it must be
// built. It reads, hashes and writes nothing else.
func (t *Tree) Plan(ctx context.Context, targets []graph.Ref, opts PlanOptions) (*Plan, error) {
	p := &Plan{Targets: targets}
	pending := map[graph.Ref]bool{}
	for _, ref := range t.Graph.Order(targets) {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		o := t.Graph.Output(ref)
		s := &Step{Output: o, Request: o.Request(opts.Platforms), Action: ActionBuild}
		p.Steps = append(p.Steps, s)
		if dep, ok := firstPending(o.Deps, pending); ok {
			s.Because = dep
			s.Reason = fmt.Sprintf("%s will be built", dep)
		} else if opts.NoCache && slices.Contains(targets, ref) {
			s.Reason = "--no-cache"
		} else if reason, err := t.stale(o, s.Request, opts.Probe); err != nil {
			return nil, err
		} else if reason == "" {
			s.Action, s.Reason = ActionNone, "up to date"
			continue
		} else {
			s.Reason = reason
		}
		pending[ref] = true
	}
	return p, nil
}

func firstPending(deps []graph.Ref, pending map[graph.Ref]bool) (graph.Ref, bool) {
	for _, d := range deps {
		if pending[d] {
			return d, true
		}
	}
	return graph.Ref{}, false
}

// stale says why o must be built, "" when it need not be: its record's key is
// what the key is now, its layout is the recorded one, and every blob is whole.
func (t *Tree) stale(o *graph.Output, req graph.Request, probe string) (string, error) {
	name := o.Ref.String()
	rec, err := t.Store.Record(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := t.Store.Layout(name); err == nil {
			return "out/" + name + " was not built here", nil
		}
		return "not built yet", nil
	case err != nil:
		return "its record cannot be believed: " + err.Error(), nil
	case rec.Origin != cache.BuiltHere:
		return "out/" + name + " was not built here", nil
	}
	layout, err := t.Store.Whole(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "out/" + name + " is gone", nil
	case err != nil:
		return "out/" + name + " is damaged: " + err.Error(), nil
	}
	if err := rec.Exact(layout); err != nil {
		return "out/" + name + " is not what was built: " + err.Error(), nil
	}
	deps, missing := t.currentDeps(o)
	if missing != "" {
		return "out/" + missing + " is gone", nil
	}
	key, err := t.key(o, req, deps, probe)
	if err != nil {
		return "", err
	}
	if key == rec.Key {
		return "", nil
	}
	return whatChanged(rec, deps, probe), nil
}

// currentDeps are the manifests that o's dependencies have in out/ now.
func (t *Tree) currentDeps(o *graph.Output) (deps map[string][]cache.Manifest, missing string) {
	deps = map[string][]cache.Manifest{}
	for _, d := range o.Deps {
		l, err := t.Store.Layout(d.String())
		if err != nil {
			return nil, d.String()
		}
		deps[d.String()] = l.Manifests
	}
	return deps, ""
}

// whatChanged names the first difference between a record and now.
func whatChanged(rec cache.Record, deps map[string][]cache.Manifest, probe string) string {
	for _, name := range slices.Sorted(maps.Keys(deps)) {
		was, ok := rec.Deps[name]
		switch {
		case !ok:
			return name + " is a new dependency"
		case !slices.Equal(was, deps[name]):
			return fmt.Sprintf("%s changed %s -> %s", name, short(was), short(deps[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rec.Deps)) {
		if _, ok := deps[name]; !ok {
			return name + " is no dependency any more"
		}
	}
	if rec.Engine.Probe != probe {
		return "the engine makes other bytes than the one that built it"
	}
	return "its definition or its sources changed"
}

// short abbreviates the first digest as git and docker do.
func short(ms []cache.Manifest) string {
	if len(ms) == 0 {
		return "nothing"
	}
	return ms[0].Digest.String()[:len("sha256:")+12] + "…"
}
