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

// Action says what a run does with an output.
type Action string

// The actions.
const (
	ActionBuild   Action = "build"      // from source
	ActionPreseed Action = "preseed"    // pull its published image
	ActionNone    Action = "up to date" // nothing
)

// Step is one output of a plan.
type Step struct {
	Output *graph.Output
	// Request is complete if the action is to build, until the step has ended; else only
	// its platforms are set, and [graph.Output.Request] returns the rest.
	Request graph.Request
	Action  Action
	// Reason explains the action to the user.
	Reason string
	// Substituted reports that the published image is used instead of a build, without
	// a proof. If it might have been and is not, NotSubstituted says why.
	Substituted    bool
	NotSubstituted string
	// Changes lists the differences between the inputs of the last build and those of
	// the next, if they are the reason.
	Changes []Change
	// Because is the dependency whose rebuild is the reason, zero if the output has a
	// reason of its own. If the rebuilt dependency has its old digest, this step is
	// dropped. Of several dependencies it is the one with the shortest path to a step
	// that has a reason of its own.
	Because graph.Ref
	// FromPublished reports that the output is built from the published images of its
	// direct dependencies, so that it waits for no other step.
	FromPublished bool
	// Expected is how long building the output should take; for a member of a family,
	// how long until this member is finished. Untimed reports that no earlier build was
	// timed, so that Expected is an estimate from other outputs. Both are set before
	// driver.Status.Begin.
	Expected time.Duration
	Untimed  bool
	// Waited says what the step waited for before it started.
	Waited Waited
	// Engine names which of several engines builds the output, from driver.Status.Start
	// on; "" if there is only one.
	Engine string
	// Memory is the peak that building the output, or its whole family, needs, in
	// bytes; 0 if it is unknown.
	Memory int64
	// LastFinished is when the build in the output's record finished, and LastDuration
	// how long it took if it was built here; zero without a record.
	LastFinished time.Time
	LastDuration time.Duration
	// Family lists the steps of one definition, this one included, in plan order. They
	// share their sources and their compile, start together and take one job of -j;
	// each ends by itself. All have the same slice. It is nil if the output is the only
	// one of its definition that is built, and set before driver.Status.Begin.
	Family []*Step
}

// Ended drops what of the request only the build needed: 2 kB for each output.
func (s *Step) Ended() {
	r := &s.Request
	r.BuildArgs, r.Contexts, r.Annotations, r.Images, r.Tags, r.Ulimits = nil, nil, nil, nil, nil, nil
}

// Waited is what a step waited for in a run, in this order, and how long.
type Waited struct {
	Depends   time.Duration // since the run began, until all dependencies were there
	Downloads time.Duration // then for sources and images of other registries
	Lock      time.Duration // then for another sx, which built the output
	Job       time.Duration // then for one of the jobs of -j, or for memory
}

// Plan lists what a build would do with each output in the closure of the targets,
// dependencies before dependents. Outputs that only substituted ones depend on are left
// out.
type Plan struct {
	Targets []graph.Ref
	Steps   []*Step
	Engine  string // that a run builds on, as [buildkit.EngineName] names it; "" before a run
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

// Options are the options of [New] and [Explain].
type Options struct {
	Platforms []string // the user's choice; empty: linux/amd64
	NoCache   bool     // build the targets even if they are up to date
	Rebuild   bool     // the same
	// Force returns why a target must be built although its record is current, "" if it
	// need not be. nil forces none.
	Force func(cache.Record) string
	// Substitution lets published images be used instead of building dependencies; nil
	// builds all.
	Substitution *Substitution
	// Probe is the digest of the probe image of the engine that would build.
	Probe string
	// Wanted reports whether out/ is to have an output that the hub of the tree has; nil:
	// none is.
	Wanted func(graph.Ref) bool
}

// New decides for each output in the closure of targets whether it must be built. It
// reads and hashes files, and changes none.
func New(ctx context.Context, v *tree.View, targets []graph.Ref, opts Options) (*Plan, error) {
	front := findFrontier(v, v.Graph.Order(targets), targets, opts)
	p := &Plan{Targets: targets, Steps: newSteps(v, front, opts)}
	will := pending{}
	stale := staleness{view: v, probe: opts.Probe, will: will, images: front.images, wanted: opts.Wanted}
	forced := opts.forced(v, targets)
	for _, s := range p.Steps {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if s.Substituted {
			continue
		}
		own, err := stale.of(s.Output, s.Request.Platforms)
		if err != nil {
			return nil, err
		}
		if flag := forced[s.Output.Ref]; flag != "" {
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

// forced returns what forces each of the targets to be built, if anything does.
func (o Options) forced(v *tree.View, targets []graph.Ref) map[graph.Ref]string {
	flags := map[graph.Ref]string{}
	for _, ref := range targets {
		switch {
		case o.NoCache:
			flags[ref] = "--no-cache"
		case o.Rebuild:
			flags[ref] = "--rebuild"
		case o.Force != nil:
			if rec, err := v.Record(v.Graph.Output(ref)); err == nil && rec.Origin == cache.BuiltHere {
				flags[ref] = o.Force(rec)
			}
		}
	}
	return flags
}

// newSteps makes a step for each output, and loads what the plan asks of it later.
func newSteps(v *tree.View, front frontier, opts Options) []*Step {
	steps := make([]*Step, len(front.order))
	tree.Parallel(len(steps), func(i int) {
		o := front.order[i]
		s := &Step{Output: o, Action: ActionBuild, NotSubstituted: front.rejected[o.Ref]}
		steps[i] = s
		s.Request.Platforms = o.Platforms(opts.Platforms)
		if sub, ok := front.substituted[o.Ref]; ok {
			s.Action, s.Reason, s.Substituted = sub.Action, sub.Reason, true
			return
		}
		if rec, err := v.Record(o); err == nil {
			s.LastFinished = rec.Finished
			if rec.Origin == cache.BuiltHere {
				s.LastDuration = max(rec.Finished.Sub(rec.Started), 0)
			}
		} else {
			v.Layout(o) // see recordOf
		}
		v.Load(o, s.Request.Platforms)
	})
	return steps
}

// decide sets the action. A reason of the output's own precedes that of a dependency.
func (s *Step) decide(own Reason, will pending) {
	dep, depth := will.nearest(s.Output.Deps)
	switch {
	case own != nil:
		s.Reason, s.Changes = own()
		switch {
		case s.Reason != InHub:
			depth = 0
		case depth == 0:
			return // dependents are built from the image that the hub has
		}
	case depth > 0:
		s.Reason, s.Because = fmt.Sprintf("%s will be built", dep), dep
	default:
		s.Action, s.Reason = ActionNone, "up to date"
		return
	}
	will[s.Output.Ref] = depth + 1
}

// pending holds the outputs that will be built. The number is how many steps the path
// has from the output to one with a reason of its own, both included.
type pending map[graph.Ref]int

// nearest returns the dependency with the smallest number; depth is 0 if none is pending.
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

// Family sets [Step.Family] of the steps of one definition that will be built. All its
// outputs have the same dependencies, those that the whole Containerfile names, so a
// family never waits for itself. An output with other dependencies would be left out.
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

// Outcome says how a step ended. The values are those of `--progress rawjson`, and
// never change.
type Outcome string

// The outcomes.
const (
	Built     Outcome = "built"
	Unchanged Outcome = "saved"     // not built: its rebuilt dependencies kept their digests
	Reused    Outcome = "taken"     // another sx built it during this run, or its image was in the hub
	Preseeded Outcome = "preseeded" // its published image was pulled
	Failed    Outcome = "failed"    // with driver.Result.Err
	Skipped   Outcome = "skipped"   // a dependency failed: driver.Result.Cause
	NotRun    Outcome = "not run"   // the run stopped before it started
)

// OK reports whether the output is in out/ now, so that what needs it can be built.
func (o Outcome) OK() bool {
	return o == Built || o == Unchanged || o == Reused || o == Preseeded
}
