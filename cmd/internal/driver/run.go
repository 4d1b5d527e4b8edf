package driver

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
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Options are the options of [Build].
type Options struct {
	Platforms []string // the user's choice; empty: linux/amd64
	NoCache   bool     // build the targets even if they are up to date, without the engine's cache
	Rebuild   bool     // the same, with the engine's cache
	// Substitution lets published images be used instead of building dependencies;
	// nil: everything is built from source.
	Substitution *plan.Substitution
	// FromSource warns of how many outputs a build without Substitution builds.
	FromSource bool
	Foreign    Foreign // how to pull images of other registries
	KeepGoing  bool    // after a failure go on with outputs that do not depend on it
	Offline    bool    // download nothing, and give no RUN a network
	// Capacity is called when something must be built; nil means one job and no limit of
	// memory.
	Capacity func() schedule.Capacity
	// DiskFloor is how many bytes must be free on the filesystem of out/ for a step to
	// start.
	DiskFloor int64
	Engine    buildkit.Engine
	// Reconnect is how long to try to reach an engine elsewhere that went away.
	Reconnect time.Duration
	// Home is the checkout whose downloads, timings and logs are used if results go
	// elsewhere, see [tree.Tree.Apart]; nil: the tree that is built.
	Home *tree.Tree
	// Machine is recorded with what the embedded engine builds; the zero Machine is not.
	Machine cache.Machine
	// Version is the version and build of sx, for records: only a record of the same
	// build saves probing the engine.
	Version string
	Fetch   fetch.Options // how to download; the run sets the paths
	Status  Status
	// Drain, when closed, lets running builds finish and starts no other.
	Drain <-chan struct{}
	// Escape wraps a log so that the output of a build cannot control a terminal or a CI
	// system. Closing it flushes, and leaves the log open.
	Escape func(io.Writer) io.WriteCloser
	Now    func() time.Time

	dial func(*run) (builder, error) // in the place of [buildkit.Open]; nil but in tests
}

// Report is the result of a run, with one Result for each step of the plan that was not
// up to date, in plan order.
type Report struct {
	View    *tree.View // the tree after the run
	Plan    *plan.Plan
	Results []Result
}

// Count returns how many results have the outcome.
func (r *Report) Count(o plan.Outcome) int {
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
	*tree.Tree
	view    *tree.View // the tree before the run
	opts    Options
	targets []graph.Ref

	from      *published // nil unless steps are built from published images
	puller    *preseed.Puller
	reopening sync.Mutex // one at a time
	exclusive exclusive

	mu      sync.Mutex // guards all below
	engine  *engine    // nil until something must be built
	results map[graph.Ref]*Result
	claims  map[*plan.Step]claim
	broken  map[graph.Ref]error // outputs whose sources or images could not be fetched
	untimed schedule.Average    // of builds in this run that were never timed before
	stopped bool                // a failure without KeepGoing
	fatal   error               // of the engine or the disk: nothing more can be built
}

// Build brings targets and their dependencies up to date. V is a view of the tree now.
// The error is about the run as a whole; failed steps are in the report.
func Build(ctx context.Context, v *tree.View, targets []graph.Ref, opts Options) (*Report, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &run{Tree: v.Tree, view: v, opts: opts, targets: targets, results: map[graph.Ref]*Result{}, claims: map[*plan.Step]claim{}, broken: map[graph.Ref]error{}}
	r.puller = r.newPuller()
	defer r.close()
	p, err := r.plan(ctx)
	if err != nil {
		return nil, tree.AsDiskFull(err)
	}
	if err := Permitted(ctx, r.view, opts.Substitution, p); err != nil {
		return nil, err
	}
	report := &Report{View: v, Plan: p}
	if s := opts.Substitution; s != nil && s.Pull && s.Unavailable() != nil {
		opts.Status.Warn(fmt.Sprintf("--preseed uses no published image, everything is built: %v", s.Unavailable()))
	}
	if opts.FromSource && p.Count(plan.ActionBuild) > 0 {
		opts.Status.Warn(fromSourceWarning(v, p))
	}
	if p.Count(plan.ActionBuild) > 0 {
		if err = errors.Join(v.Store.ReadOnly(), v.Store.Replaceable(toBuild(p))); err == nil {
			err = r.execute(ctx, p)
			report.View = v.Look()
		}
	}
	report.Results = r.resultsOf(p)
	return report, tree.AsDiskFull(errors.Join(err, r.fatal, r.equaliseTimes(ctx, report.View, p)))
}

// plan makes the plan. If nothing is to be built it starts no engine.
func (r *run) plan(ctx context.Context) (*plan.Plan, error) {
	probe, known := r.recordedProbe()
	opts := plan.Options{
		Platforms: r.opts.Platforms, NoCache: r.opts.NoCache, Rebuild: r.opts.Rebuild, Probe: probe,
		Substitution: r.opts.Substitution,
	}
	p, err := plan.New(ctx, r.view, r.targets, opts)
	if err != nil || known || p.Count(plan.ActionBuild) == 0 {
		return p, err
	}
	if r.engine, err = r.connect(ctx); err != nil || r.engine == nil || r.engine.probe == probe {
		return p, err
	}
	opts.Probe = r.engine.probe
	return plan.New(ctx, r.view, r.targets, opts)
}

// toBuild lists the outputs that the plan replaces in out/.
func toBuild(p *plan.Plan) (outputs []string) {
	for _, s := range p.Steps {
		if s.Action != plan.ActionNone {
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

// execute runs the plan.
func (r *run) execute(ctx context.Context, p *plan.Plan) error {
	if err := snapshotDefinitions(r.Tree, p); err != nil {
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
	if err := r.checkPlatforms(ctx, platformsOf(p)); err != nil {
		return err
	}
	var capacity schedule.Capacity
	if r.opts.Capacity != nil {
		capacity = r.opts.Capacity()
	}
	schedule.EstimateSteps(r.home(), p.Steps, capacity)
	plan.Family(p.Steps)
	s := &schedule.Schedule{
		Slots: capacity.Slots(), Stop: r.stop, Do: r.runUnit, Skip: r.skip,
		Estimate: r.estimate, UntimedEstimate: r.untimedEstimate, Now: r.opts.Now,
	}
	a := newPrefetcher(s, p.Steps, r.markBroken, r.pullImages)
	s.Claim = func(u *schedule.Unit) func(context.Context) {
		if wait := a.claimSources(u, r.needed); wait != nil {
			return wait
		}
		return r.claim(u.Steps)
	}
	if r.opts.Offline { // before the first build: it takes no time, and shows what is missing
		if err := a.run(ctx, r.fetchOptions()); err != nil && !(r.opts.KeepGoing && reportedBySteps(err)) {
			return err
		}
	}
	p.Engine = buildkit.EngineName(r.opts.Engine)
	r.opts.Status.Begin(p)
	r.runWithDownloads(ctx, s, a)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// runWithDownloads runs the schedule, and the downloads for as long as something may
// still start.
func (r *run) runWithDownloads(ctx context.Context, s *schedule.Schedule, a *prefetcher) {
	var beside errgroup.Group
	defer beside.Wait() // its functions keep their own errors
	ends, end := context.WithCancel(ctx)
	defer end()
	s.Stop = func() bool {
		if r.stop() {
			end()
			return true
		}
		return false
	}
	beside.Go(func() error {
		select {
		case <-r.opts.Drain:
			s.Wake()
		case <-ends.Done():
		}
		return nil
	})
	download := func(f func(context.Context, fetch.Options) error) {
		beside.Go(func() error {
			if err := f(ends, r.fetchOptions()); !reportedBySteps(err) && ends.Err() == nil {
				r.abort(err)
				s.Wake()
			}
			return nil
		})
	}
	if !r.opts.Offline {
		download(a.run)
	}
	download(a.serveRequired)
	beside.Go(func() error {
		if err := r.preseedImages(ends, s); err != nil && ends.Err() == nil {
			r.abort(err)
			s.Wake()
		}
		return nil
	})
	s.Run(ctx)
}

// abort ends the run early because of an error that no step caused.
func (r *run) abort(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fatal = cmp.Or(r.fatal, err)
}

// markBroken records why a step cannot be built.
func (r *run) markBroken(s *plan.Step, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken[s.Output.Ref] == nil {
		r.broken[s.Output.Ref] = err
	}
}

// brokenBy returns why a step cannot be built, nil if it can.
func (r *run) brokenBy(s *plan.Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken[s.Output.Ref]
}

// runUnit builds the members of a unit at once: while their builds overlap, the engine
// runs their common steps once, even without its cache.
func (r *run) runUnit(ctx context.Context, steps []*plan.Step, ended func(*plan.Step, bool)) {
	r.refineEstimates(steps)
	var members errgroup.Group
	for _, s := range steps {
		members.Go(func() error {
			ended(s, r.step(ctx, s))
			return nil
		})
	}
	members.Wait() // step reports its own errors
}

// refineEstimates updates Expected of steps that were never timed, before they start.
func (r *run) refineEstimates(steps []*plan.Step) {
	estimate := r.untimedEstimate()
	for _, s := range steps {
		if s.Untimed && estimate > 0 {
			s.Expected = estimate
		}
	}
}

// untimedEstimate returns the average of the run's builds that were never timed before,
// 0 if there is none yet.
func (r *run) untimedEstimate() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.untimed.Value()
}

func (r *run) estimate(left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opts.Status.Estimate(left)
}

// platformsOf returns the platforms that the plan builds for.
func platformsOf(p *plan.Plan) []string {
	var ps []string
	for _, s := range p.Steps {
		if s.Action == plan.ActionBuild {
			ps = append(ps, s.Request.Platforms...)
		}
	}
	slices.Sort(ps)
	return slices.Compact(ps)
}

// stop reports whether nothing may start any more.
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

func (r *run) skip(s *plan.Step, cause graph.Ref) {
	r.finish(s, Result{Outcome: plan.Skipped, Cause: cause})
}

// finish records and reports how a step ended.
func (r *run) finish(s *plan.Step, res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res.Ref = s.Output.Ref
	r.results[res.Ref] = &res
	if res.Outcome == plan.Failed && !r.opts.KeepGoing {
		r.stopped = true
	}
	r.opts.Status.Finish(s, res)
}

// snapshotDefinitions reads the definitions of the plan, so that an edit during the run
// changes neither what is built nor what is judged.
func snapshotDefinitions(t *tree.Tree, p *plan.Plan) error {
	for _, s := range p.Steps {
		if _, err := t.Snapshot(s.Output.Definition); err != nil {
			return err
		}
	}
	return nil
}
