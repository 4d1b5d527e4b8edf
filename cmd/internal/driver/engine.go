package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// engine is a connection to the engine that builds run on, and its properties. If the
// engine is lost, a new value replaces it.
type engine struct {
	builder
	to          fleet.Member
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
	Elsewhere() bool
	Sent() int64
	Close() error
}

var _ builder = (*buildkit.Builder)(nil)

// connection is a run's connection to an engine that it builds on. A lost engine is
// reached again. It is safe for concurrent use.
type connection struct {
	to        fleet.Member
	store     *cache.Store
	dial      func(context.Context) (builder, error)
	reconnect time.Duration   // see [Options].Reconnect
	drain     <-chan struct{} // closed when nothing may start any more
	warn      func(text string)
	exclusive exclusive // of the builds on this engine
	// one of several: another probe than StageX's ends its part in the run
	strict bool

	reopening sync.Mutex // one at a time
	mu        sync.Mutex // guards engine
	engine    *engine    // nil until something must be built
}

// newConnection returns a connection that is not open yet.
func newConnection(t *tree.Tree, to fleet.Member, opts Options, warn func(string)) *connection {
	dial := func(ctx context.Context) (builder, error) {
		if opts.dial != nil {
			return opts.dial(to)
		}
		return buildkit.Open(ctx, to.Engine, buildkit.Options{Store: t.Store, Log: t.Log, Hub: hubOf(opts.Hub, to.Kind()), Spans: opts.Spans})
	}
	return &connection{to: to, store: t.Store, dial: dial, reconnect: opts.Reconnect, drain: opts.Drain, warn: warn}
}

func (c *connection) close() {
	if e := c.current(); e != nil {
		e.Close()
	}
}

// recordedProbe returns the engine's probe for a build of targets, from a record of this
// very sx and engine, by its kind and address. Without such a record it returns StageX's probe, and known
// is false if there are records of other builds: then the engine must be probed before
// anything is built.
func recordedProbe(v *tree.View, targets []graph.Ref, opts Options) (probe string, known bool) {
	if isFleet(opts) || opts.OnEach { // an engine with another probe builds nothing
		return buildkit.ProbeDigest, true
	}
	known = true
	here := recordedEngine(opts.Engines[0])
	order := v.Graph.Order(targets)
	tree.Parallel(len(order), func(i int) { v.Record(order[i]) }) // which the plan needs too
	for _, o := range order {
		rec, err := v.Record(o)
		if err != nil || rec.Origin != cache.BuiltHere {
			continue
		}
		if rec.Engine.SX == opts.Version && verdict.SameEngine(rec.Engine, here) {
			return rec.Engine.Probe, true
		}
		known = false
	}
	return buildkit.ProbeDigest, known
}

// recordedEngine returns what records say of an engine: its kind and its address.
func recordedEngine(m fleet.Member) cache.EngineInfo {
	kind, address := m.Recorded()
	return cache.EngineInfo{Kind: kind, Address: text.Redact(address)}
}

// connect opens the engine, unless it is open. If another build of sx runs an engine, it
// waits until that one is done. It returns nil if nothing may start any more.
func (c *connection) connect(ctx context.Context) (*engine, error) {
	if e := c.current(); e != nil {
		return e, nil
	}
	opening, cancel := context.WithCancel(ctx) // the connection uses it too, so it is not cancelled here
	opened := make(chan struct{})
	defer close(opened)
	go func() {
		select {
		case <-c.drain:
			cancel()
		case <-opened:
		}
	}()
	e, err := c.open(opening)
	if errors.As(err, new(*lostError)) {
		c.warn("the connection to the engine broke while sx examined it; connecting again")
		e, err = c.reach(opening)
	}
	if err != nil && opening.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	c.set(e)
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
func (c *connection) open(ctx context.Context) (e *engine, err error) {
	slow := time.AfterFunc(slowEngine, func() {
		c.warn(fmt.Sprintf("the engine %s is not ready after %s: it waits for another sx, pulls its image, or is busy with others' builds; sx waits on, Ctrl-C ends it",
			c.to, slowEngine))
	})
	defer slow.Stop()
	b, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			lost := b.Lost(ctx)
			if err = c.asDiskFull(b.Away(err)); lost {
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
		c.warn(buildkit.OtherSnapshotter(snapshotter))
	}
	into, err := c.store.Stage("sx-probe")
	if err != nil {
		return nil, err
	}
	defer into.Close()
	probe, err := b.Probe(ctx, into)
	if err != nil {
		return nil, err
	}
	if probe.String() != buildkit.ProbeDigest {
		if c.strict {
			return nil, &OtherProbeError{c.to, probe.String()}
		}
		c.warn(fmt.Sprintf("this engine does not produce StageX's bytes: its probe image is %s, not %s; nothing that it builds can be MATCH or MISMATCH", probe, buildkit.ProbeDigest))
	}
	return &engine{builder: b, to: c.to, version: version, snapshotter: snapshotter, probe: probe.String()}, nil
}

// OtherProbeError means that an engine of a fleet does not make StageX's bytes.
type OtherProbeError struct {
	engine fleet.Member
	probe  string
}

func (e *OtherProbeError) Error() string {
	return fmt.Sprintf("the engine %s does not produce StageX's bytes: its probe image is %s, not %s", e.engine, e.probe, buildkit.ProbeDigest)
}

// current returns the engine, nil if it is not open.
func (c *connection) current() *engine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine
}

func (c *connection) set(e *engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine = e
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
func (c *connection) reopen(ctx context.Context, was *engine) error {
	c.reopening.Lock()
	defer c.reopening.Unlock()
	if c.current() != was || !was.Lost(ctx) {
		return nil
	}
	c.warn("the engine was lost; what it was building begins again")
	was.Close()
	e, err := c.reach(ctx)
	if err != nil {
		return err
	}
	c.set(e)
	return nil
}

// reach opens the engine until it succeeds, with the pauses of reopenWaits. If it gives
// up, the error is an *EngineGoneError.
func (c *connection) reach(ctx context.Context) (*engine, error) {
	began := time.Now()
	for try := 0; ; try++ {
		e, err := c.open(ctx)
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
		case errors.As(err, &away) && time.Since(began) > c.reconnect,
			!errors.As(err, &away) && try > last, errors.As(err, &unfit):
			return nil, &EngineGoneError{err}
		}
		if away != nil && try == 0 {
			c.warn(fmt.Sprintf("%v; meanwhile nothing is built, and sx tries again for %s", err, c.reconnect))
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
func (c *connection) checkPlatforms(ctx context.Context, platforms []string) error {
	for try := 1; ; try++ {
		e := c.current()
		err := e.CheckPlatforms(ctx, platforms)
		if err == nil || ctx.Err() != nil || try == maxTries || !e.Lost(ctx) {
			return err
		}
		if err := c.reopen(ctx, e); err != nil {
			return err
		}
	}
}

// asDiskFull returns a *tree.DiskFullError if err says that the disk of an engine
// elsewhere is full. Errors of an engine arrive as text.
func (c *connection) asDiskFull(err error) error {
	kind := c.to.Kind()
	if kind == buildkit.EmbeddedKind || errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return err
	}
	return &tree.DiskFullError{Err: err, Engine: kind}
}
