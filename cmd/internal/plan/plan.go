package plan

import (
	"context"
	"fmt"
	"slices"
	"time"

	"codeberg.org/stagex/sx/cache"
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
	// known before driver.Status.Begin.
	Expected time.Duration
	Guessed  bool
	// Memory is how much building it, or its whole family, needs at its peak, in
	// bytes; 0 where that is unknown.
	Memory int64
	// Was is when the build finished that the record tells of which the plan knows,
	// zero where it knows none; Took how long a build here took that it tells of.
	Was  time.Time
	Took time.Duration
	// Family is the steps that run as one with this one, itself among them, in
	// plan order: the members of one definition share their sources and their
	// compile, start together and take one job of -j; each ends by itself. All
	// of them have the same slice. Nil for a step that runs alone. It is known
	// before driver.Status.Begin.
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

// PlanOptions are the options of [New] and [Explain].
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

// New decides for every output in the closure of targets whether it must be built. It
// reads, hashes and writes nothing else.
func New(ctx context.Context, v *tree.View, targets []graph.Ref, opts PlanOptions) (*Plan, error) {
	cut := findFrontier(v, v.Graph.Order(targets), targets, opts)
	p := &Plan{Targets: targets, Steps: gather(v, cut, opts)}
	will := pending{}
	stale := staleness{view: v, probe: opts.Probe, will: will, images: cut.images}
	asked := opts.asked(targets)
	for _, s := range p.Steps {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if s.Taken {
			continue
		}
		own, err := stale.of(s.Output, s.Request.Platforms)
		if err != nil {
			return nil, err
		}
		if flag := asked[s.Output.Ref]; flag != "" {
			own = because("%s", flag)
		}
		s.decide(own, will)
	}
	tree.Parallel(len(p.Steps), func(i int) {
		if s := p.Steps[i]; s.Action == ActionBuild {
			s.Request = s.Output.Request(opts.Platforms)
		}
	})
	p.dropUnread()
	return p, nil
}

// asked returns the flag for which each of the targets is built, whatever its record says.
func (o PlanOptions) asked(targets []graph.Ref) map[graph.Ref]string {
	flags := map[graph.Ref]string{}
	for _, ref := range targets {
		switch {
		case o.NoCache:
			flags[ref] = "--no-cache"
		case o.Rebuild:
			flags[ref] = "--rebuild"
		}
	}
	return flags
}

// gather makes a step for each output, and loads what is asked of it later.
func gather(v *tree.View, cut cut, opts PlanOptions) []*Step {
	steps := make([]*Step, len(cut.order))
	tree.Parallel(len(steps), func(i int) {
		o := cut.order[i]
		s := &Step{Output: o, Action: ActionBuild, NotTaken: cut.not[o.Ref]}
		steps[i] = s
		s.Request.Platforms = o.Platforms(opts.Platforms)
		if taken, ok := cut.taken[o.Ref]; ok {
			s.Action, s.Reason, s.Taken = taken.Action, taken.Reason, true
			return
		}
		if rec, err := v.Record(o); err == nil {
			s.Was = rec.Finished
			if rec.Origin == cache.BuiltHere {
				s.Took = max(rec.Finished.Sub(rec.Started), 0)
			}
		}
		v.Load(o, s.Request.Platforms)
	})
	return steps
}

// decide takes the output's own reason to be built, if it has one, before that of
// what it is built from.
func (s *Step) decide(own Reason, will pending) {
	dep, depth := will.nearest(s.Output.Deps)
	switch {
	case own != nil:
		s.Reason, s.Changes = own()
		depth = 0
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

// Family finds the steps that run as one: those of one definition that will be
// built. They all need the same outputs, for an output's dependencies are what
// its whole Containerfile names; so no family can come to wait for itself,
// whatever the graph. A member of which that did not hold would run alone.
func Family(steps []*Step) {
	groups := map[*graph.Definition][]*Step{}
	for _, s := range steps {
		s.Family = nil
		d := s.Output.Definition
		if s.Action != ActionBuild || d == nil {
			continue
		}
		if g := groups[d]; g == nil || slices.Equal(g[0].Output.Deps, s.Output.Deps) {
			groups[d] = append(g, s)
		}
	}
	for _, members := range groups {
		if len(members) == 1 {
			continue
		}
		for _, s := range members {
			s.Family = members
		}
	}
}

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	Built     Outcome = "built"
	Saved     Outcome = "saved"     // planned, but its dependencies came out as they were
	Taken     Outcome = "taken"     // another sx built it meanwhile
	Preseeded Outcome = "preseeded" // its published image was pulled
	Failed    Outcome = "failed"    // see Err
	Skipped   Outcome = "skipped"   // what it needs failed: see Cause
	NotRun    Outcome = "not run"   // the run stopped before its turn
)
