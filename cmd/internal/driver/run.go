package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

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

	hub      *hub       // nil if the run has none
	from     *published // nil unless steps are built from published images
	images   *images
	engines  *engines
	claims   *claims
	outcomes *outcomes
}

// newRun returns a run that has not begun; close ends it. Steps are built from what from
// holds, or from out/ if it is nil.
func newRun(v *tree.View, targets []graph.Ref, from *published, opts Options) *run {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &run{Tree: v.Tree, view: v, opts: opts, targets: targets, from: from, hub: newHub(v.Tree, targets, opts)}
	r.outcomes = newOutcomes(opts.Status, opts.KeepGoing)
	r.images = newImages(v.Tree, opts)
	r.engines = newEngines(v.Tree, opts, r.outcomes)
	r.claims = &claims{
		store: v.Store, needed: r.needed, stop: r.stop, drain: opts.Drain, waiting: r.outcomes.waiting,
		held: map[*plan.Step]claim{},
	}
	return r
}

// home returns the tree whose downloads, timings and logs are used.
func (r *run) home() *tree.Tree { return cmp.Or(r.opts.Home, r.Tree) }

// Build brings targets and their dependencies up to date. V is a view of the tree now.
// The error is about the run as a whole; failed steps are in the report.
func Build(ctx context.Context, v *tree.View, targets []graph.Ref, opts Options) (*Report, error) {
	r := newRun(v, targets, nil, opts)
	defer r.close()
	p, err := r.planned(ctx)
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
	report.Results = r.outcomes.of(p)
	err = errors.Join(err, r.outcomes.fatal, equaliseTimes(ctx, report.View, p, r.opts))
	return report, tree.AsDiskFull(err)
}

// plan makes the plan. If nothing is to be built it starts no engine.
func (r *run) plan(ctx context.Context) (*plan.Plan, error) {
	probe, known := recordedProbe(r.view, r.targets, r.opts)
	opts := plan.Options{
		Platforms: r.opts.Platforms, NoCache: r.opts.NoCache, Rebuild: r.opts.Rebuild, Probe: probe,
		Substitution: r.opts.Substitution, Wanted: r.hub.wants(), Force: OnEach(r.opts),
	}
	p, err := plan.New(ctx, r.view, r.targets, opts)
	if err != nil || known || p.Count(plan.ActionBuild) == 0 {
		return p, err
	}
	e, err := r.engines.first().connect(ctx)
	if err != nil || e == nil || e.probe == probe {
		return p, err
	}
	opts.Probe = e.probe
	return plan.New(ctx, r.view, r.targets, opts)
}

// planned makes the plan, of dependencies that the hub still has.
func (r *run) planned(ctx context.Context) (*plan.Plan, error) {
	for {
		p, err := r.plan(ctx)
		if err != nil || r.hub == nil {
			return p, err
		}
		if gone, err := r.hub.missing(ctx, r.view, p); err != nil || !gone {
			return p, err
		}
		r.view = r.Look()
	}
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
	r.images.close()
	r.engines.close()
	r.hub.close(r.Log)
}

// execute runs the plan.
func (r *run) execute(ctx context.Context, p *plan.Plan) error {
	if err := snapshotDefinitions(r.Tree, p); err != nil {
		return err
	}
	if err := checkFloor(r.Store, r.opts.DiskFloor); err != nil {
		return err
	}
	var capacity schedule.Capacity
	if r.opts.Capacity != nil {
		capacity = r.opts.Capacity()
	}
	if r.opts.OnEach {
		capacity = eachCapacity(capacity, r.opts.Engines)
	}
	schedule.EstimateSteps(r.home(), p.Steps, capacity)
	plan.Family(p.Steps)
	capacity.Machines = r.engines.expand(p, capacity)
	s := &schedule.Schedule{
		Slots: capacity.Slots(), Stop: r.stop, Do: r.runUnit, Skip: r.skip,
		Estimate: r.outcomes.estimate, UntimedEstimate: r.outcomes.untimedEstimate, Now: r.opts.Now,
	}
	if r.engines.several {
		s.May, s.Move = r.engines.may, r.engines.move
	}
	downloads := newPrefetcher(s, p.Steps, r.outcomes.markBroken, r.pullImages)
	defer r.engines.end()
	if ready, err := r.engines.connect(ctx, p, s); err != nil || !ready {
		return err
	}
	s.Claim = func(u *schedule.Unit) func(context.Context) {
		if wait := downloads.claimSources(u, r.needed); wait != nil {
			return wait
		}
		return timeLock(u.Left(), r.opts.Now, r.claims.take(u.Left()))
	}
	if r.opts.Offline { // before the first build: it takes no time, and shows what is missing
		if err := downloads.download(ctx, r.fetchOptions()); err != nil && !(r.opts.KeepGoing && reportedBySteps(err)) {
			return err
		}
	}
	p.Engine = r.engines.names()
	r.opts.Status.Begin(p)
	r.runWithDownloads(ctx, s, downloads)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// runWithDownloads runs the schedule, and the downloads for as long as something may
// still start.
func (r *run) runWithDownloads(ctx context.Context, s *schedule.Schedule, downloads *prefetcher) {
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
				r.outcomes.abort(err)
				s.Wake()
			}
			return nil
		})
	}
	if !r.opts.Offline {
		download(downloads.download)
	}
	download(downloads.serveRequired)
	beside.Go(func() error {
		if err := r.preseedImages(ends, s); err != nil && ends.Err() == nil {
			r.outcomes.abort(err)
			s.Wake()
		}
		return nil
	})
	s.Run(ctx)
}

// runUnit builds the members of a unit at once: while their builds overlap, the engine
// runs their common steps once, even without its cache.
func (r *run) runUnit(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) (again bool) {
	r.refineEstimates(steps)
	var members errgroup.Group
	var lost atomic.Bool
	for _, s := range steps {
		members.Go(func() error {
			if ok, again := r.step(ctx, on, s); again {
				lost.Store(true)
			} else {
				ended(s, ok)
			}
			return nil
		})
	}
	members.Wait() // step reports its own errors
	return lost.Load()
}

// refineEstimates updates Expected of steps that were never timed, before they start.
func (r *run) refineEstimates(steps []*plan.Step) {
	estimate := r.outcomes.untimedEstimate()
	for _, s := range steps {
		if s.Untimed && estimate > 0 {
			s.Expected = estimate
		}
	}
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
	if err := checkFloor(r.Store, r.opts.DiskFloor); err != nil {
		r.outcomes.full(err)
	}
	return r.outcomes.stopping()
}

func (r *run) skip(s *plan.Step, cause graph.Ref) {
	r.outcomes.finish(s, Result{Outcome: plan.Skipped, Cause: cause})
}

// snapshotDefinitions reads the definitions of the plan, so that an edit during the run
// changes neither what is built nor what is judged.
func snapshotDefinitions(t *tree.Tree, p *plan.Plan) error {
	errs := make([]error, len(p.Steps))
	tree.Parallel(len(p.Steps), func(i int) { _, errs[i] = t.Snapshot(p.Steps[i].Output.Definition) })
	return cmp.Or(errs...)
}

// pullImages pulls the images that s names into the store, unless it has them, and waits
// for the published images that s is built from.
func (r *run) pullImages(ctx context.Context, s *plan.Step) error {
	if s.FromPublished {
		if err := r.from.wait(ctx, s); err != nil {
			return err
		}
	}
	return r.images.pull(ctx, s.Request)
}

// dependency returns what a step is built from on an engine: what out/ or the hub holds of
// d or, in [Reproduce], the published image.
func (r *run) dependency(ctx context.Context, e *engine, d graph.Ref) (cache.Layout, error) {
	if r.hub != nil {
		return r.hub.dependency(ctx, r.Look(), d, r.hub.uses(e))
	}
	if r.from != nil {
		return r.from.layout(ctx, d, r.Published[d.String()])
	}
	l, err := r.Store.Dependency(ctx, d.String())
	if err != nil {
		return l, fmt.Errorf("reading the dependency out/%s: %w", d, err)
	}
	return l, nil
}

// fetchOptions returns the user's options with the paths and the status of this run.
func (r *run) fetchOptions() fetch.Options {
	o := r.opts.Fetch
	store := r.home().Store
	o.Tree, o.TempDir = r.Dir, store.Dir("partial")
	o.Offline = r.opts.Offline
	o.Sum = store.Stats().Sum
	o.Status = r.opts.Status.Sources()
	o.Log = r.Log
	return o
}
