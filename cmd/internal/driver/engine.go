package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// engine is a connection to the engine that builds run on, and its properties. If the
// engine is lost, a new value replaces it.
type engine struct {
	builder
	version     string // of BuildKit
	snapshotter string // how it stacks layers
	probe       string // digest of the probe image
}

// builder is what a run needs of a [buildkit.Builder].
type builder interface {
	Kind() string
	Version(context.Context) (string, error)
	Snapshotter(context.Context) (string, error)
	Probe(context.Context, *cache.Staging) (oci.Digest, error)
	CheckPlatforms(context.Context, []string) error
	Build(context.Context, buildkit.Job) (*buildkit.Image, error)
	Lost(context.Context) bool
	Away(error) error
	Close() error
}

var _ builder = (*buildkit.Builder)(nil)

// dial connects to the engine.
func (r *run) dial(ctx context.Context) (builder, error) {
	if r.opts.dial != nil {
		return r.opts.dial(r)
	}
	return buildkit.Open(ctx, r.opts.Engine, buildkit.Options{Store: r.Store, Log: r.Log})
}

// recordedProbe returns the engine's probe from a record of this very sx and kind of
// engine. Without such a record it returns StageX's probe, and known is false if there
// are records of other builds: then the engine must be probed before anything is built.
func (r *run) recordedProbe() (probe string, known bool) {
	known = true
	for _, o := range r.Graph.Order(r.targets) {
		rec, err := r.view.Record(o)
		if err != nil || rec.Origin != cache.BuiltHere {
			continue
		}
		if rec.Engine.SX == r.opts.Version && rec.Engine.Kind == r.opts.Engine.Kind() {
			return rec.Engine.Probe, true
		}
		known = false
	}
	return buildkit.ProbeDigest, known
}

// connect opens the engine for the first time. If another build of sx runs an engine,
// it waits until that one is done. It returns nil if nothing may start any more.
func (r *run) connect(ctx context.Context) (*engine, error) {
	opening, cancel := context.WithCancel(ctx) // the connection uses it too, so it is not cancelled here
	opened := make(chan struct{})
	defer close(opened)
	go func() {
		select {
		case <-r.opts.Drain:
			cancel()
		case <-opened:
		}
	}()
	e, err := r.open(opening)
	if errors.As(err, new(*lostError)) {
		r.warn("the engine was lost while it was asked what it is; it is reached again")
		e, err = r.reach(opening)
	}
	if err != nil && opening.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return e, err
}

// slowEngine is how long an engine may take to be ready before the user is told.
const slowEngine = 30 * time.Second

// lostError reports that the engine went away after it was reached and before it had
// answered all questions: connecting again may succeed.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }

func (e *lostError) Unwrap() error { return e.err }

// open connects to the engine and probes it. If the engine goes away while it does, the
// error is a *lostError.
func (r *run) open(ctx context.Context) (e *engine, err error) {
	slow := time.AfterFunc(slowEngine, func() {
		r.warn(fmt.Sprintf("the engine %s is not ready after %s: it waits for another sx, pulls its image, or is busy with others' builds; sx waits on, Ctrl-C ends it",
			buildkit.EngineName(r.opts.Engine), slowEngine))
	})
	defer slow.Stop()
	b, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			lost := b.Lost(ctx)
			if err = r.asEngineDiskFull(b.Away(err)); lost {
				err = &lostError{err}
			}
		}
		b.Close()
	}()
	version, err := b.Version(ctx)
	if err != nil {
		return nil, err
	}
	snapshotter, err := b.Snapshotter(ctx)
	if err != nil {
		return nil, err
	}
	if snapshotter != buildkit.Overlayfs {
		r.warn(buildkit.OtherSnapshotter(snapshotter))
	}
	into, err := r.Store.Stage("sx-probe")
	if err != nil {
		return nil, err
	}
	defer into.Close()
	probe, err := b.Probe(ctx, into)
	if err != nil {
		return nil, err
	}
	if probe.String() != buildkit.ProbeDigest {
		r.warn(fmt.Sprintf("this engine makes other bytes than StageX's: its probe image is %s, want %s; no digest will be judged", probe, buildkit.ProbeDigest))
	}
	return &engine{builder: b, version: version, snapshotter: snapshotter, probe: probe.String()}, nil
}

// connected returns the current engine.
func (r *run) connected() *engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.engine
}

// EngineGoneError reports that the engine was lost and cannot be reached again. No build
// caused it, and nothing more can be built.
type EngineGoneError struct{ Err error }

func (e *EngineGoneError) Error() string {
	return fmt.Sprintf("the engine was lost and cannot be reached again: %v", e.Err)
}

func (e *EngineGoneError) Unwrap() error { return e.Err }

// reopenWaits are the pauses before each further attempt to reach a lost engine: a
// machine out of memory, or a host that restarts, needs some time. For an engine
// elsewhere the last pause is repeated for as long as [Options].Reconnect says.
var reopenWaits = []time.Duration{time.Second, 5 * time.Second, 20 * time.Second}

// reopen replaces the engine that a build lost, unless another build has already done
// so. If it gives up, the error is an *EngineGoneError.
func (r *run) reopen(ctx context.Context, was *engine) error {
	r.reopening.Lock()
	defer r.reopening.Unlock()
	if r.connected() != was || !was.Lost(ctx) {
		return nil
	}
	r.warn("the engine was lost; what it was building begins again")
	was.Close()
	e, err := r.reach(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine = e
	return nil
}

// reach opens the engine until it succeeds, with the pauses of reopenWaits. If it gives
// up, the error is an *EngineGoneError.
func (r *run) reach(ctx context.Context) (*engine, error) {
	began := time.Now()
	for try := 0; ; try++ {
		e, err := r.open(ctx)
		if err == nil {
			return e, nil
		}
		var unfit *buildkit.UnfitError
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var away *buildkit.EngineError
		last := len(reopenWaits) - 1
		switch {
		case errors.As(err, &away) && time.Since(began) > r.opts.Reconnect,
			!errors.As(err, &away) && try > last, errors.As(err, &unfit):
			return nil, &EngineGoneError{err}
		}
		if away != nil && try == 0 {
			r.warn(fmt.Sprintf("%v; meanwhile nothing is built, and sx tries again for %s", err, r.opts.Reconnect))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(reopenWaits[min(try, last)]):
		}
	}
}

// checkPlatforms checks that the engine runs programs for the platforms of a plan. If
// the engine is lost it asks again.
func (r *run) checkPlatforms(ctx context.Context, platforms []string) error {
	for try := 1; ; try++ {
		e := r.connected()
		err := e.CheckPlatforms(ctx, platforms)
		if err == nil || ctx.Err() != nil || try == maxTries || !e.Lost(ctx) {
			return err
		}
		if err := r.reopen(ctx, e); err != nil {
			return err
		}
	}
}

// asEngineDiskFull returns a *tree.DiskFullError if err says that the disk of an engine
// elsewhere is full. Errors of an engine arrive as text.
func (r *run) asEngineDiskFull(err error) error {
	kind := r.opts.Engine.Kind()
	if kind == "embedded" || errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return err
	}
	return &tree.DiskFullError{Err: err, Engine: kind}
}

func (r *run) warn(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opts.Status.Warn(text)
}
