package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Action is what a plan does with an output.
type Action string

// The actions.
const (
	ActionBuild   Action = "build"      // from source
	ActionPreseed Action = "preseed"    // its published image is pulled
	ActionNone    Action = "up to date" // nothing
)

// Step is one output of a plan.
type Step struct {
	Output *graph.Output
	// Request has only its platforms where nothing is built: [graph.Output.Request]
	// says the rest.
	Request graph.Request
	Action  Action
	// Reason is a sentence for a person: why this action.
	Reason string
	// Taken says that its published image stands for it, which nobody here proved;
	// NotTaken why none does, where that was asked.
	Taken    bool
	NotTaken string
	// Changes are all differences between what the output was built from and
	// what it would be built from, as far as that is the reason.
	Changes []Change
	// Because is the dependency that makes it necessary, zero when the
	// output itself does. Its rebuild may give the old digest: then this
	// step is dropped when its turn comes. Of several it is the one from which
	// the fewest steps lead to one that has its own reason.
	Because graph.Ref
	// Expected is how long building it should take, of a family how long until
	// this member is there; Guessed says that no earlier build tells. Both are
	// known before [Status].Begin.
	Expected time.Duration
	Guessed  bool
	// Memory is how much building it, or its whole family, needs at its peak, in
	// bytes; 0 where that is unknown.
	Memory int64
	// Was is when the build finished that the record tells of which the plan knows,
	// zero where it knows none.
	Was time.Time
	// Family is the steps that run as one with this one, itself among them, in
	// plan order: the members of one definition share their sources and their
	// compile, start together and take one job of -j; each ends by itself. All
	// of them have the same slice. Nil for a step that runs alone. It is known
	// before [Status].Begin.
	Family []*Step
}

// Plan is what a build would do: every output in the closure of the targets, or
// what is not hidden behind published images, each after all it is built from.
type Plan struct {
	Targets []graph.Ref
	Steps   []*Step
	Engine  string // where a run builds, see [buildkit.EngineName]; "" without one
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
	Rebuild   bool     // the same
	// Substitution lets published images stand for what the targets are built
	// from; nil: none does.
	Substitution *Substitution
	// Probe is the probe result of the engine that would build.
	Probe string
}

// New decides for every output in the closure of targets whether it must be
// built. It reads, hashes and writes nothing else.
func New(ctx context.Context, t *tree.Tree, targets []graph.Ref, opts PlanOptions) (*Plan, error) {
	cut := findFrontier(t, t.Graph.Order(targets), targets, opts)
	p := &Plan{Targets: targets}
	steps, settled := gather(t, cut, opts)
	p.Steps = steps
	will, asked := pending{}, map[graph.Ref]bool{}
	if opts.NoCache || opts.Rebuild {
		for _, ref := range targets {
			asked[ref] = true
		}
	}
	for i, s := range p.Steps {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if s.Taken {
			continue
		}
		var r reason
		if !settled[i] || len(cut.images) > 0 {
			var err error
			if r, err = why(t, s.Output, s.Request.Platforms, opts.Probe, will, cut.images); err != nil {
				return nil, err
			}
		}
		if asked[s.Output.Ref] {
			r = reason{text: "--rebuild"}
			if opts.NoCache {
				r.text = "--no-cache"
			}
		}
		s.decide(r, will)
	}
	tree.Parallel(len(p.Steps), func(i int) {
		if s := p.Steps[i]; s.Action == ActionBuild {
			s.Request = s.Output.Request(opts.Platforms)
		}
	})
	p.dropUnread()
	return p, nil
}

// gather makes a step for each output, and looks at what there is of it: settled are
// those of which why would find no reason.
func gather(t *tree.Tree, cut cut, opts PlanOptions) (steps []*Step, settled []bool) {
	steps, settled = make([]*Step, len(cut.order)), make([]bool, len(cut.order))
	tree.Parallel(len(steps), func(i int) {
		o := cut.order[i]
		steps[i] = &Step{Output: o, Action: ActionBuild, NotTaken: cut.not[o.Ref]}
		steps[i].Request.Platforms = o.Platforms(opts.Platforms)
		if taken, ok := cut.taken[o.Ref]; ok {
			steps[i].Action, steps[i].Reason, steps[i].Taken = taken.Action, taken.Reason, true
			return
		}
		if rec, err := t.Record(o); err == nil {
			steps[i].Was = rec.Finished
		}
		t.Look(o, steps[i].Request.Platforms)
	})
	tree.Parallel(len(steps), func(i int) { settled[i] = !steps[i].Taken && upToDate(t, steps[i], opts.Probe) })
	return steps, settled
}

// decide takes the output's own reason to be built, if it has one, before that of
// what it is built from.
func (s *Step) decide(own reason, will pending) {
	dep, depth := will.nearest(s.Output.Deps)
	switch {
	case own.text != "":
		s.Reason, s.Changes, depth = own.text, own.changes, 0
	case depth > 0:
		s.Reason, s.Because = fmt.Sprintf("%s will be built", dep), dep
	default:
		s.Action, s.Reason = ActionNone, "up to date"
		return
	}
	will[s.Output.Ref] = depth + 1
}

// pending are the outputs that will be built, each with the number of steps from
// it to one that has its own reason, itself counted.
type pending map[graph.Ref]int

// nearest is the dependency with the smallest number; 0 where none is pending.
func (p pending) nearest(deps []graph.Ref) (dep graph.Ref, depth int) {
	if len(p) == 0 {
		return dep, 0
	}
	for _, d := range deps {
		if n := p[d]; n > 0 && (depth == 0 || n < depth) {
			dep, depth = d, n
		}
	}
	return dep, depth
}

// Stale says why o must be built, "" when it need not be.
func Stale(t *tree.Tree, o *graph.Output, req graph.Request, probe string) (string, error) {
	r, err := why(t, o, req.Platforms, probe, nil, nil)
	return r.text, err
}

// reason is why an output must be built whatever becomes of others; zero when it
// need not be.
type reason struct {
	text    string
	changes []Change
}

// neverBuilt is the reason of what is neither in out/ nor recorded.
const neverBuilt = "not built yet"

func because(format string, args ...any) (reason, error) {
	return reason{text: fmt.Sprintf(format, args...)}, nil
}

// why looks for the reason to build o: it has none when its record's key is what
// the key is now, its layout is the recorded one, and every blob is whole. Of
// dependencies that will be built it is not known what they will be: they count
// as unchanged. Of those that will be pulled it is known: images.
func why(t *tree.Tree, o *graph.Output, platforms []string, probe string, will pending, images map[graph.Ref][]oci.Manifest) (reason, error) {
	name := o.String()
	rec, err := recordOf(t, o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := t.Store.Layout(name); err == nil {
			return because("out/%s was not built here", name)
		}
		return reason{text: neverBuilt}, nil
	case errors.As(err, new(*cache.ForgedError)):
		return because("its record was not written by this user's sx")
	case err != nil:
		return because("its record cannot be believed: %v", err)
	case rec.Origin != cache.BuiltHere:
		if _, err := t.Layout(o); errors.Is(err, fs.ErrNotExist) {
			return reason{text: neverBuilt}, nil
		}
		return because("out/%s was not built here", name)
	}
	layout, err := t.Whole(o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return because("out/%s is gone", name)
	case err != nil:
		return because("out/%s is damaged: %v", name, err)
	}
	if err := rec.Exact(layout); err != nil {
		return because("out/%s is not what was built: %v", name, err)
	}
	deps, missing := currentDeps(t, o, rec, will, images)
	if missing != "" {
		return because("out/%s is gone", missing)
	}
	if rec.Engine.Probe == probe && tree.SameDeps(deps, rec.Deps) {
		if current, err := t.Current(o, platforms, rec); err != nil || current {
			return reason{}, err
		}
	}
	now, err := t.Parts(o, o.Request(platforms), deps, probe)
	if err != nil {
		return reason{}, err
	}
	key, err := cache.NewKey(now)
	if err != nil || key == rec.Key {
		return reason{}, err
	}
	cs := since(t, rec, now)
	return reason{sentence(cs), cs}, nil
}

// recordOf is the record of o or, if it is gone or tells of a published image that was
// pulled, the proof that the image in out/ was built here.
func recordOf(t *tree.Tree, o *graph.Output) (cache.Record, error) {
	rec, err := t.Record(o)
	if gone := errors.Is(err, fs.ErrNotExist); !gone && (err != nil || rec.Origin == cache.BuiltHere) {
		return rec, err
	}
	if l, lerr := t.Layout(o); lerr == nil {
		if proof, ok := t.Store.Proof(o.String(), l.Digest()); ok {
			return proof, nil
		}
	}
	return rec, err
}

// upToDate reports whether why surely finds no reason for s when nothing that it is
// built from changes: it asks the same of the evidence, and builds no sentence.
func upToDate(t *tree.Tree, s *Step, probe string) bool {
	o := s.Output
	rec, err := t.Record(o)
	if t.Evidence == nil || err != nil || rec.Origin != cache.BuiltHere || rec.Engine.Probe != probe || len(rec.Deps) != len(o.Deps) {
		return false
	}
	layout, err := t.Whole(o)
	if err != nil || rec.Exact(layout) != nil {
		return false
	}
	for i, dep := range o.Inputs() {
		was := rec.Deps[i]
		is, err := t.Layout(dep)
		if err != nil || was.Output != dep.String() || !slices.Equal(is.Manifests, was.Images) {
			return false
		}
	}
	current, err := t.Current(o, s.Request.Platforms, rec)
	return err == nil && current
}

// currentDeps are the manifests that o's dependencies have in out/ now; of those
// that will be built, what they had when rec was made.
func currentDeps(t *tree.Tree, o *graph.Output, rec cache.Record, will pending, images map[graph.Ref][]oci.Manifest) (deps cache.Deps, missing string) {
	for _, input := range o.Inputs() {
		dep := cache.Dep{Output: input.String(), Images: images[input.Ref]}
		if will[input.Ref] > 0 {
			dep.Images = rec.Deps.Images(dep.Output)
		} else if dep.Images == nil {
			l, err := t.Layout(input)
			if err != nil {
				return nil, dep.Output
			}
			dep.Images = l.Manifests
		}
		deps = append(deps, dep)
	}
	return deps, ""
}
