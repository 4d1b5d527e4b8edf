package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Options of [Tree.Build].
type Options struct {
	Platforms []string // the user's choice; empty: linux/amd64
	NoCache   bool     // run every step of the targets again
	KeepGoing bool     // go on with what does not depend on a failure
	Offline   bool     // no download, and no network for any RUN
	Jobs      int      // outputs built at once; 0: 1
	Engine    buildkit.Engine
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

	mu      sync.Mutex // of all below
	engine  *engine    // nil until something must be built
	results map[graph.Ref]*Result
	broken  map[graph.Ref]error // outputs whose sources cannot be had
	stopped bool                // a failure without KeepGoing
	fatal   error               // the engine or the disk: nothing more can be built
}

// engine is a connection to where builds run, and what is known of it. It is
// replaced as a whole when it is lost.
type engine struct {
	*buildkit.Builder
	version string // of BuildKit
	probe   string // digest of the probe image
}

// Build brings targets and all they are built from up to date. The error is
// about the run as a whole; failed steps are in the report.
func (t *Tree) Build(ctx context.Context, targets []graph.Ref, opts Options) (*Report, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Jobs = max(opts.Jobs, 1)
	r := &run{Tree: t, opts: opts, targets: targets, results: map[graph.Ref]*Result{}, broken: map[graph.Ref]error{}}
	defer r.close()
	probe := r.recordedProbe()
	if probe == "" {
		if err := r.open(ctx); err != nil {
			return nil, fullDisk(err)
		}
		probe = r.engine.probe
	}
	plan, err := t.Plan(ctx, targets, PlanOptions{Platforms: opts.Platforms, NoCache: opts.NoCache, Probe: probe})
	if err != nil {
		return nil, err
	}
	report := &Report{Plan: plan}
	if plan.Count(ActionBuild) > 0 {
		if err = t.Store.ReadOnly(); err == nil {
			err = r.execute(ctx, plan)
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

func (r *run) close() {
	if r.engine != nil {
		r.engine.Close()
	}
}

// recordedProbe is what bytes the engine makes, as far as the records of this
// very sx tell; "" where only another sx built here, so that the engine must be
// asked.
func (r *run) recordedProbe() string {
	foreign := false
	for _, ref := range r.Graph.Order(r.targets) {
		rec, err := r.Store.Record(ref.String())
		if err != nil || rec.Origin != cache.BuiltHere {
			continue
		}
		if rec.Engine.SX == r.opts.Version && rec.Engine.Kind == r.opts.Engine.Kind() {
			return rec.Engine.Probe
		}
		foreign = true
	}
	if foreign {
		return ""
	}
	return buildkit.ProbeDigest
}

func (r *run) execute(ctx context.Context, plan *Plan) error {
	if r.engine == nil {
		if err := r.open(ctx); err != nil {
			return err
		}
	}
	if err := r.engine.CheckPlatforms(ctx, platformsOf(plan)); err != nil {
		return err
	}
	if err := r.fetch(ctx, plan); err != nil {
		return err
	}
	r.opts.Status.Begin(plan.Count(ActionBuild))
	s := &schedule{jobs: r.opts.Jobs, stop: r.stop, run: r.step, skip: r.skip}
	s.Run(ctx, plan.Steps)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
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

// open connects to the engine and probes it.
func (r *run) open(ctx context.Context) (err error) {
	b, err := buildkit.Open(ctx, r.opts.Engine, buildkit.Options{Store: r.Store, Scratch: r.Store.Dir("tmp"), Log: r.log})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	version, err := b.Version(ctx)
	if err != nil {
		return err
	}
	into, err := r.Store.Stage("sx-probe")
	if err != nil {
		return err
	}
	defer into.Close()
	probe, err := b.Probe(ctx, into)
	if err != nil {
		return err
	}
	if probe.String() != buildkit.ProbeDigest {
		r.opts.Status.Warn(fmt.Sprintf("this engine makes other bytes than StageX's: its probe image is %s, want %s; no digest will be judged", probe, buildkit.ProbeDigest))
	}
	r.engine = &engine{Builder: b, version: version, probe: probe.String()}
	return nil
}

// connected is the engine of this moment.
func (r *run) connected() *engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.engine
}

// fetch downloads what the plan will build. An output whose sources cannot be
// had fails when its turn comes; the others go on.
func (r *run) fetch(ctx context.Context, plan *Plan) error {
	var sources []fetch.Source
	owners := map[string][]graph.Ref{}
	for _, s := range plan.Steps {
		if s.Action != ActionBuild {
			continue
		}
		for _, src := range Sources(s.Output.Definition) {
			if owners[src.Path] == nil {
				sources = append(sources, src)
			}
			owners[src.Path] = append(owners[src.Path], s.Output.Ref)
		}
	}
	_, err := fetch.Run(ctx, sources, r.fetchOptions())
	unavailable := missingSources(err)
	if len(unavailable) == 0 || !r.opts.KeepGoing {
		return err
	}
	for _, src := range unavailable {
		for _, ref := range owners[src.Path] {
			r.broken[ref] = &SourceError{Ref: ref, Err: err, Source: src.Name}
		}
	}
	return nil
}

// missingSources are those that err says cannot be had; none when err is about
// something else.
func missingSources(err error) []fetch.Source {
	var failed *fetch.Error
	var offline *fetch.OfflineError
	var out []fetch.Source
	switch {
	case errors.As(err, &failed) && failed.Stopped == nil:
		for _, f := range failed.Failures {
			out = append(out, f.Source)
		}
	case errors.As(err, &offline):
		for _, m := range offline.Missing {
			out = append(out, m.Source)
		}
	}
	return out
}

func (r *run) fetchOptions() fetch.Options {
	o := r.opts.Fetch
	o.Tree, o.TempDir = r.Dir, r.Store.Dir("partial")
	o.Offline = r.opts.Offline
	o.Sum = r.Store.Stats().Sum
	o.Status = r.opts.Status.Sources()
	o.Log = r.log
	return o
}

// Sources are what a definition downloads, as package fetch wants them.
func Sources(d *graph.Definition) []fetch.Source {
	var out []fetch.Source
	for _, s := range d.Sources {
		out = append(out, fetch.Source{
			Name: d.Stage + "/" + d.Name + ": " + s.Key,
			Path: s.Path, Hash: s.Hash, Mirrors: s.Mirrors,
		})
	}
	return out
}

// SourceError says that an output cannot be built for want of a source.
type SourceError struct {
	Ref    graph.Ref
	Source string
	Err    error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("the source %s cannot be had", e.Source)
}

func (e *SourceError) Unwrap() error { return e.Err }

func (r *run) stop() bool {
	select {
	case <-r.opts.Drain:
		return true
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
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

// logPath is where the build of s writes: .sx/logs/<output>/<time>.log.
func (r *run) logPath(s *Step, at time.Time) (string, error) {
	dir, err := r.Store.Folder("logs", s.Output.Ref.String())
	if err != nil {
		return "", err
	}
	old, err := os.ReadDir(dir) // by name, and so by time
	if err != nil {
		return "", err
	}
	for len(old) >= keptLogs {
		os.Remove(filepath.Join(dir, old[0].Name()))
		old = old[1:]
	}
	return filepath.Join(dir, at.UTC().Format("20060102T150405.000000000Z")+".log"), nil
}

// keptLogs bounds the logs of one output.
const keptLogs = 10
