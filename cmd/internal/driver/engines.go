package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// engines are the engines of a run, by their numbers in [schedule.Capacity].Machines. With
// one engine, a build that loses it waits until it is reached again. Of several, each is
// reached again while the others go on, and what it was building is given back to the
// schedule. It is safe for concurrent use.
type engines struct {
	tree      *tree.Tree
	opts      Options
	outcomes  *outcomes
	several   bool // more than one, or a pool
	all       []*connection
	inventory *fleet.Inventory
	schedule  *schedule.Schedule
	platforms []string      // of the plan
	ended     chan struct{} // closed when nothing is to be reached any more
	ending    sync.Once
	tending   sync.WaitGroup

	mu       sync.Mutex // guards all below
	states   []engineState
	lost     map[*plan.Step]int // how often a build of it lost its engine
	noneFrom time.Time          // since when no engine is there; zero: one is
	begun    bool               // an engine has been there
	away     []string           // kept by [engines.warnAway]
	said     []string           // by [engines.warnNew]
	sizes    map[string]int64   // of outputs in out/, in bytes
}

// engineState says what is known about an engine of several.
type engineState struct {
	ready bool
	out   error           // why it takes no part in the run any more
	lacks map[string]bool // platforms that it does not build for
}

// isFleet reports whether a run can go on without one of its engines.
func isFleet(opts Options) bool {
	switch {
	case opts.OnEach:
		return false
	case len(opts.Engines) > 1:
		return true
	}
	_, pool := opts.Engines[0].Engine.(buildkit.Pool)
	return pool
}

func newEngines(t *tree.Tree, opts Options, o *outcomes) *engines {
	g := &engines{
		tree: t, opts: opts, outcomes: o, several: isFleet(opts), ended: make(chan struct{}),
		lost: map[*plan.Step]int{}, sizes: map[string]int64{},
	}
	switch {
	case opts.OnEach:
		g.all = []*connection{connectEach(t, opts, o.warn)}
	case !g.several:
		g.all = []*connection{newConnection(t, opts.Engines[0], opts, o.warn)}
	}
	return g
}

// first returns the only engine.
func (g *engines) first() *connection { return g.all[0] }

// at returns an engine by its number; -1, of a build that is known to fail, is any.
func (g *engines) at(on int) *connection { return g.all[max(on, 0)] }

// probe returns the probe of the engines: several have StageX's.
func (g *engines) probe() string {
	if g.several {
		return buildkit.ProbeDigest
	}
	return g.first().current().probe
}

// names lists the engines for the user.
func (g *engines) names() string {
	var names []string
	for _, m := range g.opts.Engines {
		names = append(names, m.String())
	}
	return strings.Join(names, ", ")
}

// expand makes the machines that a plan is built on, and returns what each may use.
func (g *engines) expand(p *plan.Plan, c schedule.Capacity) (machines []schedule.Machine) {
	if !g.several {
		return nil
	}
	g.platforms = platformsOf(p)
	for _, m := range fleet.Machines(g.opts.Engines, width(p)) {
		one := newConnection(g.tree, m, g.opts, g.warnNew)
		one.strict = true
		g.all = append(g.all, one)
		machine := schedule.Machine{Name: m.Title(), Jobs: c.Jobs, Memory: c.Memory}
		if m.Jobs > 0 {
			machine.Jobs = m.Jobs
		}
		if m.Memory > 0 {
			machine.Memory = m.Memory
		}
		machines = append(machines, machine)
	}
	g.states, g.inventory = make([]engineState, len(g.all)), fleet.NewInventory(len(g.all))
	return machines
}

// width returns how many units of a plan can be built at once, if each takes as long.
func width(p *plan.Plan) (most int) {
	level, units := map[graph.Ref]int{}, map[int]int{}
	for _, s := range p.Steps {
		if s.Action != plan.ActionBuild {
			continue
		}
		l := 0
		for _, d := range s.Output.Deps {
			if below, ok := level[d]; ok && !s.FromPublished {
				l = max(l, below+1)
			}
		}
		level[s.Output.Ref] = l
		if s.Family == nil || s.Family[0] == s {
			units[l]++
			most = max(most, units[l])
		}
	}
	return most
}

// connect opens the engine or, of several, waits until one is there: the others follow
// during the run. It reports whether builds may start; without an error, nothing may start
// any more. Before the first is there, one that cannot be reached is an error if no other
// can.
func (g *engines) connect(ctx context.Context, p *plan.Plan, s *schedule.Schedule) (ready bool, err error) {
	if !g.several {
		if e, err := g.first().connect(ctx); err != nil || e == nil {
			return false, err
		}
		return true, g.first().checkPlatforms(ctx, platformsOf(p))
	}
	g.schedule, g.noneFrom = s, time.Now()
	tried := make(chan error, len(g.all))
	for on := range g.all {
		s.SetDown(on, true)
		g.tending.Go(func() { g.tend(ctx, on, tried) })
	}
	var errs []error
	for range g.all {
		select {
		case err := <-tried:
			if err == nil {
				g.begin()
				return true, nil
			}
			if !slices.ContainsFunc(errs, func(other error) bool { return other.Error() == err.Error() }) { // of one pool
				errs = append(errs, err)
			}
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-g.opts.Drain:
			return false, nil
		}
	}
	return false, errors.Join(errs...)
}

// homeless returns why no engine that takes part may build s.
func (g *engines) homeless(s *plan.Step) error {
	var why []string
	g.mu.Lock()
	defer g.mu.Unlock()
	for on, st := range g.states {
		name := g.all[on].to.String()
		switch {
		case st.out != nil:
			why = append(why, name+": "+st.out.Error())
		case !g.opts.Bindings.May(s.Output, s.Request.Platforms, g.all[on].to):
			why = append(why, name+": stagex.toml does not let it build this")
		default:
			why = append(why, fmt.Sprintf("%s: it does not build for %s", name, strings.Join(s.Request.Platforms, ", ")))
		}
	}
	return &NoEngineError{why}
}

// NoEngineError reports that none of several engines may or can build an output.
type NoEngineError struct {
	Why []string // of each engine, in words
}

func (e *NoEngineError) Error() string {
	return "no engine can build it:\n  " + strings.Join(e.Why, "\n  ")
}

// may reports whether a unit may be built on an engine, for [schedule.Schedule].May.
func (g *engines) may(u *schedule.Unit, on int) bool {
	s := u.Steps[0]
	if s.Action != plan.ActionBuild {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.states[on]
	if st.out != nil {
		return false
	}
	for _, p := range s.Request.Platforms {
		if st.lacks[p] {
			return false
		}
	}
	return g.opts.Bindings.May(s.Output, s.Request.Platforms, g.all[on].to)
}

// move returns how long the dependencies of a unit take to get to an engine, for
// [schedule.Schedule].Move.
func (g *engines) move(u *schedule.Unit, on int) time.Duration {
	sizes := map[string]int64{}
	g.mu.Lock()
	for _, d := range u.Steps[0].Output.Deps { // a family's are the same
		name := d.String()
		size, ok := g.sizes[name]
		if !ok {
			size, _ = g.tree.Store.Size(name) // as far as it can be read
			g.sizes[name] = size
		}
		sizes[name] = size
	}
	g.mu.Unlock()
	return g.inventory.Move(on, sizes)
}

// built records what an engine has after a build of s.
func (g *engines) built(c *connection, s *plan.Step, size int64) {
	if !g.several {
		return
	}
	g.mu.Lock()
	g.sizes[s.Output.Ref.String()] = size
	g.mu.Unlock()
	on := g.number(c)
	g.inventory.Has(on, s.Output.Ref.String())
	for _, d := range s.Output.Deps {
		g.inventory.Has(on, d.String())
	}
}

func (g *engines) number(c *connection) int {
	for on, one := range g.all {
		if one == c {
			return on
		}
	}
	return -1
}

// measureEvery is the time between two readings of how many bytes an engine was sent.
const measureEvery = 250 * time.Millisecond

// measure measures how fast bytes get to an engine, until it is replaced or the run ends. A
// burst that fills a reading counts by itself: the connection is idle between bursts.
func (g *engines) measure(on int, e *engine) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for last := e.Sent(); ; {
		select {
		case <-g.ended:
			return
		case <-tick.C:
		}
		if g.all[on].current() != e {
			return
		}
		now := e.Sent()
		g.inventory.Measured(on, now-last, measureEvery)
		last = now
	}
}

// end ends what reaches engines: no state of the run changes any more.
func (g *engines) end() {
	g.ending.Do(func() { close(g.ended) })
	g.tending.Wait()
}

// close ends the connections, and gives machines back.
func (g *engines) close() {
	g.end()
	for _, c := range g.all {
		c.close()
	}
	for _, m := range g.opts.Engines {
		release, ok := m.Engine.(buildkit.Releaser)
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
		if err := release.Release(ctx); err != nil {
			g.outcomes.warn(fmt.Sprintf("giving back the machines of %s: %v", m, err))
		}
		cancel()
	}
}

// releaseTime bounds how long giving machines back takes.
const releaseTime = 30 * time.Second

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
