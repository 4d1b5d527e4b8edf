package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// tend opens an engine until it succeeds, gives it up or the run ends, with the pauses of
// reopenWaits. It sends how the first try ended to tried, which may be nil.
func (g *engines) tend(ctx context.Context, on int, tried chan<- error) {
	c := g.all[on]
	for try := 0; ; try++ {
		e, lacks, err := g.open(ctx, c)
		over := isClosed(g.ended) || ctx.Err() != nil
		switch {
		case err == nil && over:
			e.Close()
		case err == nil:
			g.ready(ctx, on, e, lacks)
		case !over && g.hopeless(err, try):
			g.giveUp(on, err)
			over = true
		}
		if tried != nil {
			tried <- err
			tried = nil
		}
		if err == nil || over {
			return
		}
		if try == 0 {
			g.warnAway(err)
		}
		g.checkNone(err)
		select {
		case <-g.ended:
			return
		case <-time.After(reopenWaits[min(try, len(reopenWaits)-1)]):
		}
	}
}

// warnAway warns that an engine is not there. Before one is there the warnings are kept:
// without any, the errors are the run's.
func (g *engines) warnAway(err error) {
	text := fmt.Sprintf("%v; sx tries again while the other engines build", err)
	g.mu.Lock()
	begun := g.begun
	if !begun {
		g.away = append(g.away, text)
	}
	g.mu.Unlock()
	if begun {
		g.warnNew(text)
	}
}

// begin gives the warnings that were kept.
func (g *engines) begin() {
	g.mu.Lock()
	g.begun = true
	kept := g.away
	g.mu.Unlock()
	for _, text := range kept {
		g.warnNew(text)
	}
}

// warnNew gives a warning, once in a run: the machines of one pool have one name, and often
// the same trouble.
func (g *engines) warnNew(text string) {
	g.mu.Lock()
	known := slices.Contains(g.said, text)
	if !known {
		g.said = append(g.said, text)
	}
	g.mu.Unlock()
	if !known {
		g.outcomes.warn(text)
	}
}

// open opens an engine and asks which platforms of the plan it lacks. It stops when the run
// ends.
func (g *engines) open(ctx context.Context, c *connection) (e *engine, lacks map[string]bool, err error) {
	opening, cancel := context.WithCancel(ctx) // the connection uses it too, so it is not cancelled here
	opened := make(chan struct{})
	defer close(opened)
	go func() {
		select {
		case <-g.ended:
			cancel()
		case <-opened:
		}
	}()
	if e, err = c.open(opening); err != nil {
		return nil, nil, err
	}
	lacks = map[string]bool{}
	for _, p := range g.platforms {
		if err := e.CheckPlatforms(opening, []string{p}); err != nil {
			if e.Lost(opening) {
				e.Close()
				return nil, nil, &lostError{err}
			}
			lacks[p] = true
		}
	}
	return e, lacks, nil
}

// hopeless reports whether an engine that could not be opened is not tried again.
func (g *engines) hopeless(err error, try int) bool {
	var away *buildkit.EngineError
	var broke *lostError
	switch {
	case errors.As(err, new(*buildkit.UnfitError)), errors.As(err, new(*OtherProbeError)):
		return true
	case errors.As(err, &away), errors.As(err, &broke):
		return false
	}
	return try >= len(reopenWaits)
}

// ready lets builds start on an engine.
func (g *engines) ready(ctx context.Context, on int, e *engine, lacks map[string]bool) {
	g.all[on].set(e)
	if !e.Elsewhere() {
		g.inventory.Free(on)
	}
	g.mu.Lock()
	again := g.states[on].lacks != nil
	g.states[on].ready, g.states[on].lacks, g.noneFrom = true, lacks, time.Time{}
	g.mu.Unlock()
	if again {
		g.outcomes.warn(fmt.Sprintf("the engine %s is back and builds again", g.all[on].to))
	}
	g.tending.Go(func() { g.measure(on, e) })
	g.schedule.SetDown(on, false)
}

// giveUp ends an engine's part in the run.
func (g *engines) giveUp(on int, err error) {
	g.mu.Lock()
	g.states[on].out, g.states[on].ready = err, false
	g.mu.Unlock()
	g.schedule.SetDown(on, true)
	g.outcomes.warn(fmt.Sprintf("the engine %s builds nothing more in this run: %v", g.all[on].to, err))
}

// checkNone ends the run if no engine has been there for longer than [Options].Reconnect,
// or if all are given up. Err is why the last one is not there.
func (g *engines) checkNone(err error) {
	g.mu.Lock()
	none := !g.noneFrom.IsZero() && time.Since(g.noneFrom) > g.opts.Reconnect
	g.mu.Unlock()
	if none {
		g.outcomes.abort(&EngineGoneError{err})
		g.schedule.Wake()
	}
}

// losses returns how often a build of s lost its engine.
func (g *engines) losses(s *plan.Step) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost[s]
}

// giveBack reports whether another engine is to build s, whose build on the engine e of c
// failed with err: one that was lost is reached again meanwhile, one whose disk is full takes
// no further part. It returns the error of the step if not.
func (g *engines) giveBack(ctx context.Context, c *connection, s *plan.Step, e *engine, err error) (again bool, _ error) {
	if !g.several {
		return false, err
	}
	on := g.number(c)
	var full *tree.DiskFullError
	switch {
	case errors.Is(err, errAway):
		return true, err
	case errors.As(err, new(*buildkit.LostError)):
		g.mu.Lock()
		g.lost[s]++
		tries := g.lost[s]
		g.mu.Unlock()
		g.leave(ctx, on, e)
		if tries == maxTries {
			return false, c.lostAgain(err, tries)
		}
		return true, err
	case errors.As(c.asDiskFull(err), &full) && full.Engine != "" && g.others(on):
		if g.retire(on) {
			g.giveUp(on, full)
		}
		return true, err
	}
	return false, err
}

// errAway means that an engine of several was lost before a build on it began.
var errAway = errors.New("the engine was lost before the build began")

// retire reports whether the engine was still taking part.
func (g *engines) retire(on int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.states[on].out == nil
}

// others reports whether an engine beside this one takes part.
func (g *engines) others(on int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for other, st := range g.states {
		if other != on && st.out == nil {
			return true
		}
	}
	return false
}

// leave lets nothing start on an engine that was lost, until it is reached again.
func (g *engines) leave(ctx context.Context, on int, e *engine) {
	c := g.all[on]
	c.reopening.Lock()
	defer c.reopening.Unlock()
	if e == nil || c.current() != e {
		return // another build has seen it
	}
	c.set(nil)
	g.mu.Lock()
	g.states[on].ready = false
	ready := 0
	for _, st := range g.states {
		if st.ready {
			ready++
		}
	}
	if ready == 0 {
		g.noneFrom = time.Now()
	}
	g.mu.Unlock()
	g.schedule.SetDown(on, true)
	then := "the others build what it was building"
	if !g.others(on) {
		then = "what it was building begins again once it is back"
	}
	g.outcomes.warn(fmt.Sprintf("the engine %s was lost; %s", c.to, then))
	g.tending.Go(func() {
		e.Close()
		g.tend(ctx, on, nil)
	})
}
