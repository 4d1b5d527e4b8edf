package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Options of [Tree.Build].
type Options struct {
	Platforms []string // the user's choice; empty: linux/amd64
	NoCache   bool     // build the targets whatever their records say, every step anew
	Rebuild   bool     // build them so, with what the engine's cache has
	// Substitution lets published images stand for what the targets are built
	// from; nil: everything is built from source.
	Substitution *Substitution
	// FromSource has the run say what that costs.
	FromSource bool
	Foreign    Foreign // how to have images of other registries
	KeepGoing  bool    // go on with what does not depend on a failure
	Offline    bool    // no download, and no network for any RUN
	// Capacity is asked for when something must be built; nil: one job, any memory.
	Capacity func() Capacity
	// DiskFloor is how many bytes must be free on the filesystem of out/ for
	// anything to start; 0: any.
	DiskFloor int64
	Engine    buildkit.Engine
	// Reconnect is how long an engine elsewhere that went away is waited for.
	Reconnect time.Duration
	// Version is that of sx and its build, for records: the probe is trusted
	// for a record of the same build only.
	Version string
	Fetch   fetch.Options // how to download; paths are filled in
	Status  Status
	// Drain, when closed, lets running builds finish and starts none.
	Drain <-chan struct{}
	// Escape wraps a log so that what a build prints cannot act on a terminal
	// or a CI system. Closing it flushes and leaves the log open.
	Escape func(io.Writer) io.WriteCloser
	Now    func() time.Time
}

// Report is what a run did, one result for each step of the plan that was not
// up to date, in plan order.
type Report struct {
	Plan    *Plan
	Results []Result
}

// Count returns how many results have the outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, res := range r.Results {
		if res.Outcome == o {
			n++
		}
	}
	return n
}

// run is one call of Build.
type run struct {
	*Tree
	opts    Options
	targets []graph.Ref

	puller    *preseed.Puller
	reopening sync.Mutex // one at a time
	turns     turns

	mu      sync.Mutex // of all below
	engine  *engine    // nil until something must be built
	results map[graph.Ref]*Result
	claims  map[*Step]claim
	broken  map[graph.Ref]error // outputs whose sources cannot be had
	unknown average             // of builds of which nothing was known before
	stopped bool                // a failure without KeepGoing
	fatal   error               // the engine or the disk: nothing more can be built
}

// Build brings targets and all they are built from up to date. The error is
// about the run as a whole; failed steps are in the report.
func (t *Tree) Build(ctx context.Context, targets []graph.Ref, opts Options) (*Report, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &run{Tree: t, opts: opts, targets: targets, results: map[graph.Ref]*Result{}, claims: map[*Step]claim{}, broken: map[graph.Ref]error{}}
	r.puller = r.newPuller()
	defer r.close()
	plan, err := r.plan(ctx)
	if err != nil {
		return nil, fullDisk(err)
	}
	if err := r.permitted(ctx, plan); err != nil {
		return nil, err
	}
	report := &Report{Plan: plan}
	if s := opts.Substitution; s != nil && s.Pull && s.Unavailable() != nil {
		opts.Status.Warn(fmt.Sprintf("--preseed takes nothing, everything is built: %v", s.Unavailable()))
	}
	if opts.FromSource && plan.Count(ActionBuild) > 0 {
		opts.Status.Warn(t.notTaken(plan))
	}
	if plan.Count(ActionBuild) > 0 {
		if err = errors.Join(t.Store.ReadOnly(), t.Store.Replaceable(toBuild(plan))); err == nil {
			t.evidence = nil
			err = r.execute(ctx, plan)
			t.renewEvidence(nil)
		}
	}
	for _, s := range plan.Steps {
		if res := r.results[s.Output.Ref]; res != nil {
			report.Results = append(report.Results, *res)
		} else if s.Action != ActionNone {
			report.Results = append(report.Results, Result{Ref: s.Output.Ref, Outcome: NotRun})
		}
	}
	return report, fullDisk(errors.Join(err, r.fatal, t.equaliseTimes(ctx, plan, r)))
}

// plan starts no engine where nothing is to be built.
func (r *run) plan(ctx context.Context) (*Plan, error) {
	probe, known := r.recordedProbe()
	opts := PlanOptions{
		Platforms: r.opts.Platforms, NoCache: r.opts.NoCache, Rebuild: r.opts.Rebuild, Probe: probe,
		Substitution: r.opts.Substitution,
	}
	plan, err := r.Plan(ctx, r.targets, opts)
	if err != nil || known || plan.Count(ActionBuild) == 0 {
		return plan, err
	}
	if r.engine, err = r.connect(ctx); err != nil || r.engine == nil || r.engine.probe == probe {
		return plan, err
	}
	opts.Probe = r.engine.probe
	return r.Plan(ctx, r.targets, opts)
}

// toBuild names what plan replaces in out/.
func toBuild(plan *Plan) (outputs []string) {
	for _, s := range plan.Steps {
		if s.Action != ActionNone {
			outputs = append(outputs, s.Output.Ref.String())
		}
	}
	return outputs
}

func (r *run) close() {
	r.puller.Close()
	if r.engine != nil {
		r.engine.Close()
	}
}

func (r *run) execute(ctx context.Context, plan *Plan) error {
	if err := r.hold(plan); err != nil {
		return err
	}
	if err := r.checkFloor(); err != nil {
		return err
	}
	if r.engine == nil {
		e, err := r.connect(ctx)
		if err != nil || e == nil {
			return err
		}
		r.engine = e
	}
	if err := r.checkPlatforms(ctx, platformsOf(plan)); err != nil {
		return err
	}
	var capacity Capacity
	if r.opts.Capacity != nil {
		capacity = r.opts.Capacity()
	}
	r.expect(plan.Steps, capacity)
	family(plan.Steps)
	s := &schedule{
		slots: capacity.slots(), stop: r.stop, run: r.unit, skip: r.skip,
		estimate: r.estimate, guess: r.guess, now: r.opts.Now,
	}
	a := newAhead(s, plan.Steps, r.breaks, r.pullImages)
	s.claim = func(u *unit) func(context.Context) {
		if wait := a.claim(u, r.needed); wait != nil {
			return wait
		}
		return r.claim(u.steps)
	}
	if r.opts.Offline { // takes no time, and what is missing nobody brings
		if err := a.run(ctx, r.fetchOptions()); err != nil && !(r.opts.KeepGoing && blameless(err)) {
			return err
		}
	}
	plan.Engine = buildkit.EngineName(r.opts.Engine)
	r.opts.Status.Begin(plan)
	r.runAhead(ctx, s, a)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// runAhead runs the schedule, and beside it the downloads for as long as
// something may still start.
func (r *run) runAhead(ctx context.Context, s *schedule, a *ahead) {
	var beside errgroup.Group
	defer beside.Wait() // its parts keep their own errors
	ends, end := context.WithCancel(ctx)
	defer end()
	s.stop = func() bool {
		if r.stop() {
			end()
			return true
		}
		return false
	}
	beside.Go(func() error {
		select {
		case <-r.opts.Drain:
			s.poke()
		case <-ends.Done():
		}
		return nil
	})
	download := func(f func(context.Context, fetch.Options) error) {
		beside.Go(func() error {
			if err := f(ends, r.fetchOptions()); !blameless(err) && ends.Err() == nil {
				r.endWith(err)
				s.poke()
			}
			return nil
		})
	}
	if !r.opts.Offline {
		download(a.run)
	}
	download(a.serve)
	beside.Go(func() error {
		if err := r.pull(ends, s); err != nil && ends.Err() == nil {
			r.endWith(err)
			s.poke()
		}
		return nil
	})
	s.Run(ctx)
}

// endWith ends the run early, for what is no step's fault.
func (r *run) endWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fatal = cmp.Or(r.fatal, err)
}

// breaks notes why a step cannot be built.
func (r *run) breaks(s *Step, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken[s.Output.Ref] == nil {
		r.broken[s.Output.Ref] = err
	}
}

func (r *run) brokenBy(s *Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken[s.Output.Ref]
}

// unit builds the members of a unit together: the engine runs what they share
// once as long as their builds overlap, even without its cache.
func (r *run) unit(ctx context.Context, steps []*Step, ended func(*Step, bool)) {
	r.expectAgain(steps)
	var members errgroup.Group
	for _, s := range steps {
		members.Go(func() error {
			ended(s, r.step(ctx, s))
			return nil
		})
	}
	members.Wait() // step keeps its own errors
}

// expectAgain updates guesses, before anybody is told of them.
func (r *run) expectAgain(steps []*Step) {
	guess := r.guess()
	for _, s := range steps {
		if s.Guessed && guess > 0 {
			s.Expected = guess
		}
	}
}

// guess is what the builds so far tell of those that were never done before.
func (r *run) guess() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unknown.value()
}

func (r *run) estimate(left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opts.Status.Estimate(left)
}

func platformsOf(plan *Plan) []string {
	var ps []string
	for _, s := range plan.Steps {
		if s.Action == ActionBuild {
			ps = append(ps, s.Request.Platforms...)
		}
	}
	slices.Sort(ps)
	return slices.Compact(ps)
}

func (r *run) stop() bool {
	select {
	case <-r.opts.Drain:
		return true
	default:
	}
	err := r.checkFloor()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.fatal == nil {
		r.fatal = err
		r.opts.Status.Warn("less disk is free than build.disk_floor: running builds finish, nothing new starts")
	}
	return r.stopped || r.fatal != nil
}

func (r *run) skip(s *Step, cause graph.Ref) {
	r.finish(s, Result{Outcome: Skipped, Cause: cause})
}

func (r *run) finish(s *Step, res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res.Ref = s.Output.Ref
	r.results[res.Ref] = &res
	if res.Outcome == Failed && !r.opts.KeepGoing {
		r.stopped = true
	}
	r.opts.Status.Finish(s, res)
}
