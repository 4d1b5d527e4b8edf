package driver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/buildlog"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

// step runs one step on an engine, and reports whether its output is up to date now. Again
// reports that the engine was lost and another is to build it.
func (r *run) step(ctx context.Context, on int, s *plan.Step) (ok, again bool) {
	if s.Action == plan.ActionPreseed {
		release, _ := r.claims.of(s)
		defer release()
		return r.finishPreseed(s), false
	}
	began := r.opts.Now()
	c := r.engines.at(on)
	e := c.current()
	var res Result
	if on < 0 && r.outcomes.brokenBy(s) == nil { // the schedule found no engine for it
		res = Result{Outcome: plan.Failed, Err: r.engines.homeless(s)}
	} else {
		res = r.attempt(ctx, c, s, began)
	}
	res.Elapsed = r.opts.Now().Sub(began)
	if res.Outcome == plan.Failed && ctx.Err() == nil {
		again, res.Err = r.engines.giveBack(ctx, c, s, e, res.Err)
	}
	if again {
		res.log.End(fmt.Sprintf("%s after %s: %s", plan.NotRun, text.Duration(res.Elapsed), text.Field(res.Err.Error())))
		return false, true
	}
	if res.Outcome == plan.Failed {
		r.outcomes.fail(c.asDiskFull(res.Err))
	}
	if ctx.Err() != nil && res.Outcome == plan.Failed {
		res.Outcome, res.Err = plan.NotRun, context.Cause(ctx)
	}
	res.log.End(lastLine(res))
	r.outcomes.finish(s, res)
	s.Ended()
	return res.Outcome.OK(), false
}

// attempt builds the output of s on the engine of c, if it still must be built.
func (r *run) attempt(ctx context.Context, c *connection, s *plan.Step, began time.Time) Result {
	release, err := r.claims.of(s)
	if err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	}
	defer release()
	if reason, err := r.stillNeeded(s); err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	} else if reason == "" {
		return r.withoutBuild(s, plan.Unchanged)
	} else if s.Because.Name != "" {
		s.Reason = reason
	}
	if err := r.outcomes.brokenBy(s); err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	}
	if brought, err := r.hub.bring(ctx, r, s); err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	} else if brought {
		res := r.withoutBuild(s, plan.Reused)
		res.Hub = r.hub.Repository()
		return res
	}
	if reused, err := r.builtByOther(s); err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	} else if reused {
		return r.withoutBuild(s, plan.Reused)
	}
	if r.engines.several {
		s.Engine = c.to.Title()
	}
	r.outcomes.start(s)
	log, err := buildlog.Create(r.home().Store, s.Output.Ref.String(), began)
	if err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	}
	res := r.buildWithRetries(ctx, c, s, log, began)
	res.log = log
	return res
}

// builtByOther reports whether another sx has built s since the plan was made, and as
// this run would (without the cache, if that was asked for). It compares the record's
// times only for equality: the clock may have been set.
func (r *run) builtByOther(s *plan.Step) (bool, error) {
	rec, err := r.RecordNow(s.Output)
	if err != nil || rec.Finished.Equal(s.LastFinished) || r.noCache(s) && !rec.NoCache || r.notOnEach(s, rec) != "" {
		return false, nil
	}
	if r.from != nil {
		_, why := Reproduced(r.Look(), s.Output, s.Request.Platforms)
		return why == "", nil
	}
	reason, err := plan.Stale(r.Look(), s.Output, s.Request.Platforms, r.engines.probe())
	return err == nil && reason == nil, err
}

// buildWithRetries builds s, and again if the engine is lost: the last time alone, so that
// a build that ends the engine each time fails no other that runs beside it. Of several
// engines another one tries again, see [engines.giveBack].
func (r *run) buildWithRetries(ctx context.Context, c *connection, s *plan.Step, log *buildlog.Writer, began time.Time) Result {
	for try := 1 + r.engines.losses(s); ; try++ {
		if try == maxTries {
			r.outcomes.warn(fmt.Sprintf("%s: the engine was lost %d times while it was built; its last try waits until it is alone", s.Output.Ref, try-1))
		}
		res, lost, err := r.try(ctx, c, s, log, began, try == maxTries)
		switch {
		case err == nil:
			res.Outcome, res.Log = plan.Built, log.Path
			return res
		case lost && try < maxTries:
			continue
		case lost:
			err = c.lostAgain(err, try)
		}
		return Result{Outcome: plan.Failed, Err: c.asDiskFull(err), Log: log.Path}
	}
}

// try builds s once, without any other build if alone. Lost reports that the engine went
// away and was reached again.
func (r *run) try(ctx context.Context, c *connection, s *plan.Step, log *buildlog.Writer, began time.Time, alone bool) (res Result, lost bool, err error) {
	defer c.exclusive.acquire(s, alone)() // released when an engine is reached again
	e := c.current()
	if e == nil {
		return res, false, errAway
	}
	if res, err = r.build(ctx, s, e, log, began); err == nil {
		r.engines.built(c, s, res.Size)
	}
	if !errors.As(err, new(*buildkit.LostError)) || ctx.Err() != nil || r.engines.several {
		return res, false, err
	}
	if again := c.reopen(ctx, e); again != nil {
		return res, false, again
	}
	return res, true, err
}

// lostAgain returns the error of a build that lost the engine at each of so many tries.
func (c *connection) lostAgain(err error, tries int) error {
	said := ""
	if c.to.Kind() == buildkit.EmbeddedKind {
		said = "; sx engine logs and the kernel's log (dmesg) may say why"
	}
	return fmt.Errorf("%w, at each of %d tries%s", err, tries, said)
}

// withoutBuild returns the result of a step that need not build.
func (r *run) withoutBuild(s *plan.Step, how plan.Outcome) Result {
	l, err := r.Look().Layout(s.Output)
	if err != nil {
		return Result{Outcome: plan.Failed, Err: err}
	}
	return Result{Outcome: how, Digest: l.Digest()}
}

// maxTries bounds how often a build that loses its engine is tried. A build that fails is
// not tried again.
const maxTries = 3

// stillNeeded returns the reason to build s now that its dependencies are built: "" if
// they kept their digests and were the only reason.
func (r *run) stillNeeded(s *plan.Step) (string, error) {
	if s.Because.Name == "" {
		return s.Reason, nil
	}
	reason, err := plan.Stale(r.Look(), s.Output, s.Request.Platforms, r.engines.probe())
	return reason.String(), err
}

// needed reports whether s must be built. After an error it does, and the build returns
// the error.
func (r *run) needed(s *plan.Step) bool {
	reason, err := r.stillNeeded(s)
	return err != nil || reason != ""
}

// build runs the request, commits the result to out/ and records it. The result lacks the
// outcome and the log.
func (r *run) build(ctx context.Context, s *plan.Step, e *engine, log *buildlog.Writer, began time.Time) (Result, error) {
	job, rec, err := r.job(ctx, s, e)
	if err != nil {
		return Result{}, err
	}
	job.Log = log
	if r.opts.Escape != nil {
		escaped := r.opts.Escape(log)
		defer escaped.Close()
		job.Log = escaped
	}
	job.Step = func(instruction string) { r.outcomes.progress(s, instruction) }
	if r.hub.intoOut(e, s.Output.Ref) {
		if job.Into, err = r.Store.Stage(s.Output.Ref.String()); err != nil {
			return Result{}, err
		}
		defer job.Into.Close()
	}
	job.HubTag = r.hub.tagFor(e, s.Output.Ref)
	rec.Started, rec.Log = began, log.Path
	asked := r.opts.Now()
	img, err := e.Build(ctx, job)
	if err != nil {
		r.hub.recheck(ctx, r.Look(), s, err)
		return Result{}, r.recheckSources(ctx, s, err)
	}
	solved := r.opts.Now()
	layout, err := r.keep(ctx, e, job, img, rec)
	if err != nil {
		return Result{}, err
	}
	ended := r.opts.Now()
	r.recordTiming(s, ended.Sub(began), img)
	return Result{
		Digest: layout.Digest(), Solved: solved.Sub(asked), Committed: ended.Sub(solved), Memory: img.Peak, Size: job.Into.Size(),
	}, nil
}

// keep puts the image that job made where this run wants it: into out/, into the hub, or
// into both.
func (r *run) keep(ctx context.Context, e *engine, job buildkit.Job, img *buildkit.Image, rec cache.Record) (cache.Layout, error) {
	if job.Into == nil {
		return r.hub.keep(job, img, rec, r.opts.Now())
	}
	l, err := r.commit(ctx, job, img, rec)
	if err != nil || r.hub == nil {
		return l, err
	}
	if job.HubTag != "" {
		r.hub.has(l.Index)
		return l, nil
	}
	return l, r.hub.push(ctx, job.Ref)
}

// commit puts the image that job made into out/ and records it.
func (r *run) commit(ctx context.Context, job buildkit.Job, img *buildkit.Image, rec cache.Record) (cache.Layout, error) {
	index, err := oci.ParseDigest(img.Index.Digest.String())
	if err != nil {
		return cache.Layout{}, err
	}
	layout, err := job.Into.Commit(ctx, oci.Descriptor{
		MediaType: img.Index.MediaType, Digest: index, Size: img.Index.Size,
	}, img.Annotations)
	if err != nil {
		return cache.Layout{}, fmt.Errorf("writing out/%s: %w", job.Ref, err)
	}
	rec.Manifests, rec.Index, rec.Top = layout.Manifests, layout.Index, layout.Top
	rec.Finished = r.opts.Now()
	if err := r.Store.PutRecord(rec); err != nil {
		return cache.Layout{}, fmt.Errorf("recording %s: %w", job.Ref, err)
	}
	return layout, nil
}

// recheckSources hashes the sources of a step that failed with err: a file that changed
// on the disk may be the cause. Then it adds this to err, and the next run downloads the
// source again.
func (r *run) recheckSources(ctx context.Context, s *plan.Step, err error) error {
	if ctx.Err() != nil || errors.As(err, new(*buildkit.LostError)) {
		return err
	}
	wrong, stopped := VerifySources(ctx, r.Tree, []*graph.Definition{s.Output.Definition})
	if stopped != nil || len(wrong) == 0 {
		return err
	}
	return fmt.Errorf("%w\n%s is not what it was verified to be (%v); the next build downloads it again", err, wrong[0].Path, wrong[0].Err)
}

// job returns the inputs of the build of s, and the record of it but for its result. It
// looks at every dependency.
func (r *run) job(ctx context.Context, s *plan.Step, e *engine) (buildkit.Job, cache.Record, error) {
	o := s.Output
	snap, err := r.Snapshot(o.Definition)
	if err != nil {
		return buildkit.Job{}, cache.Record{}, err
	}
	job := buildkit.Job{
		Ref: o.Ref, Request: s.Request, Files: snap.Files,
		Deps: make(map[string]cache.Layout, len(o.Deps)), NoCache: r.noCache(s), Offline: r.opts.Offline,
	}
	if r.opts.Span != nil {
		job.Span = r.opts.Span(o.Ref.String())
	}
	for _, src := range o.Definition.Sources {
		job.Sources = append(job.Sources, buildkit.SourceFile{
			Name: src.File, Path: filepath.Join(r.Dir, filepath.FromSlash(src.Path)), Hash: src.Hash,
		})
	}
	deps := make(cache.Deps, len(o.Deps))
	for i, d := range o.Deps {
		l, err := r.dependency(ctx, e, d)
		if err != nil {
			return job, cache.Record{}, err
		}
		name := d.String()
		job.Deps[name], deps[i] = l, cache.Dep{Output: name, Images: l.Manifests}
	}
	if job.Images, err = pulledImages(r.Store, s.Request); err != nil {
		return job, cache.Record{}, err
	}
	key, err := r.Keep(o, s.Request, deps, e.probe)
	if err != nil {
		return job, cache.Record{}, err
	}
	rec := cache.Record{
		Output: o.Ref.String(), Origin: cache.BuiltHere, Key: key, Deps: deps, Foreign: foreignSources(s.Request),
		Engine: e.info(r.opts), NoCache: job.NoCache,
		Network: !r.opts.Offline && buildkit.UsesNetwork(snap.Containerfile()),
	}
	if all, ok := e.builder.(*eachBuilder); ok {
		infos := all.infos(r.opts)
		rec.Engine, rec.Also = infos[0], infos[1:]
	}
	return job, rec, nil
}

// info returns what a record says about the engine.
func (e *engine) info(opts Options) cache.EngineInfo {
	kind, address := e.to.Recorded()
	info := cache.EngineInfo{
		Kind: kind, Name: e.to.Name, Address: text.Redact(address), BuildKit: e.version,
		SX: opts.Version, Probe: e.probe, Snapshotter: e.snapshotter,
	}
	if kind == buildkit.EmbeddedKind {
		info.Machine = opts.Machine
	}
	return info
}

// noCache reports whether s is built without the engine's cache: --no-cache is about the
// targets only, not their dependencies.
func (r *run) noCache(s *plan.Step) bool {
	return r.from != nil || r.opts.NoCache && slices.Contains(r.targets, s.Output.Ref)
}

// recordTiming records the time and memory that the build of s took. A build that used the
// engine's cache counts as no shorter, and no smaller, than the one before.
func (r *run) recordTiming(s *plan.Step, took time.Duration, img *buildkit.Image) {
	p := schedule.Timing{Output: s.Output.Ref.String(), Seconds: took.Seconds(), Peak: img.Peak}
	if s.Untimed {
		r.outcomes.addUntimed(took)
	}
	if img.Cached && !s.Untimed {
		p.Seconds = max(p.Seconds, s.Expected.Seconds())
		p.Peak = max(p.Peak, s.Memory)
	}
	if !r.opts.Varied {
		schedule.RecordTiming(r.home(), p)
	}
}
