package schedule

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
	"codeberg.org/stagex/sx/graph"
)

// policy chooses a machine for each unit.
type policy string

const (
	byEnd      policy = "sx"          // that of the schedule
	foresees   policy = "foresees"    // that of the schedule, if it knew what is under way on each link
	blind      policy = "unaware"     // that of the schedule, if it does not know where bytes are
	roundRobin policy = "round robin" // each that becomes ready goes to the next machine
	sticky     policy = "sticky"      // by a hash ring, as in docker buildx' kubernetes driver
)

// fleet simulates machines of jobsOfMachine jobs. The inputs of a unit move to its machine
// before it is built, unless they are there, and its outputs move away before its
// dependents start.
type fleet struct {
	machines int
	rate     float64 // of each link, in bytes a second each way; 0: bytes are free
	hub      bool    // bytes move between each machine and a registry, else all by the link of sx
	policy   policy

	took map[*plan.Step]time.Duration // by the first member of each family
	size map[graph.Ref]int64

	mu    sync.Mutex
	has   []map[graph.Ref]bool // by machine
	links map[link]*wire
	turn  int
	ring  []hashPoint
	bound map[*Unit]int // the machine that round robin or sticky chose
	moved int64
}

// link is one direction of a link; of is -1 for that of sx.
type link struct {
	of int
	up bool
}

// wire is a link. What is sent together ends in the order in which it was sent.
type wire struct{ free time.Time }

// transfer returns when so many bytes have moved to a machine, or up from it.
func (f *fleet) transfer(on int, up bool, bytes int64) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moved += bytes
	if f.rate == 0 {
		return time.Now()
	}
	if !f.hub {
		on = -1
	}
	at := link{on, up}
	w := f.links[at]
	if w == nil {
		w = &wire{}
		f.links[at] = w
	}
	if w.free.Before(time.Now()) {
		w.free = time.Now()
	}
	w.free = w.free.Add(f.seconds(bytes))
	return w.free
}

func (f *fleet) seconds(bytes int64) time.Duration {
	if f.rate == 0 {
		return 0
	}
	return time.Duration(float64(bytes) / f.rate * float64(time.Second))
}

// missing returns how many bytes of inputs a machine does not have. The caller holds f.mu.
func (f *fleet) missing(deps []graph.Ref, on int) (bytes int64) {
	for _, d := range deps {
		if !f.has[on][d] {
			bytes += f.size[d]
		}
	}
	return bytes
}

func (f *fleet) move(u *Unit, on int) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	bytes := f.missing(u.Steps[0].Output.Deps, on)
	took := f.seconds(bytes)
	if f.policy == foresees && bytes > 0 {
		at := link{on, false}
		if !f.hub {
			at.of = -1
		}
		if w := f.links[at]; w != nil {
			took += max(time.Until(w.free), 0)
		}
	}
	return took
}

func (f *fleet) may(u *Unit, on int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.bound[u]
	if !ok {
		if at = f.turn % f.machines; f.policy == sticky {
			at = stickTo(f.ring, u.Steps[0].Output.Definition)
		}
		f.turn++
		f.bound[u] = at
	}
	return at == on
}

// hashPoint is a point of a hash ring, and its machine.
type hashPoint struct {
	at uint64
	on int
}

// newRing returns a ring on which each machine has 120 points.
func newRing(machines int) (ring []hashPoint) {
	for on := range machines {
		for i := range 120 {
			ring = append(ring, hashPoint{hashOf(fmt.Sprintf("buildkit-%d-%d", on, i)), on})
		}
	}
	slices.SortFunc(ring, func(a, b hashPoint) int { return cmp.Compare(a.at, b.at) })
	return ring
}

func hashOf(key string) uint64 {
	sum := md5.Sum([]byte(key))
	return binary.LittleEndian.Uint64(sum[:])
}

// stickTo returns the machine of a build context, the directory of d.
func stickTo(ring []hashPoint, d *graph.Definition) int {
	i, _ := slices.BinarySearchFunc(ring, hashOf(d.Dir+d.Name), func(p hashPoint, at uint64) int { return cmp.Compare(p.at, at) })
	return ring[i%len(ring)].on
}

// do builds a unit.
func (f *fleet) do(_ context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
	f.mu.Lock()
	deps := steps[0].Output.Deps
	bytes := f.missing(deps, on)
	for _, d := range deps {
		f.has[on][d] = true
	}
	f.mu.Unlock()
	time.Sleep(time.Until(f.transfer(on, false, bytes)))
	time.Sleep(f.took[steps[0]])
	bytes = 0
	f.mu.Lock()
	for _, s := range steps {
		f.has[on][s.Output.Ref] = true
		bytes += f.size[s.Output.Ref]
	}
	f.mu.Unlock()
	time.Sleep(time.Until(f.transfer(on, true, bytes)))
	for _, s := range steps {
		ended(s, true)
	}
	return false
}

// run returns how long all take.
func (f *fleet) run(t *testing.T, all []*plan.Step) (makespan time.Duration) {
	c := Capacity{}
	for range f.machines {
		c.Machines = append(c.Machines, Machine{Jobs: jobsOfMachine})
		f.has = append(f.has, map[graph.Ref]bool{})
	}
	f.ring = newRing(f.machines)
	f.links, f.bound = map[link]*wire{}, map[*Unit]int{}
	for _, s := range all {
		s.Expected = f.took[first(s)]
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Schedule{Slots: c.Slots(), Stop: func() bool { return false }, Now: time.Now, Do: f.do}
		switch f.policy {
		case byEnd, foresees:
			s.Move = f.move
		case roundRobin, sticky:
			s.May = f.may
		}
		s.Prepare(all, nil)
		began := time.Now()
		s.Run(t.Context())
		makespan = time.Since(began)
	})
	return makespan
}

// sizes draws how many bytes each output has: times × 8 MB in the middle, three times as
// much on average, and a few hundred at most.
func sizes(all []*plan.Step, seed uint64, times float64) map[graph.Ref]int64 {
	r := rand.New(rand.NewPCG(seed, 11))
	size := map[graph.Ref]int64{}
	for _, s := range all {
		size[s.Output.Ref] = int64(times * 8e6 * math.Exp(1.5*r.NormFloat64()))
	}
	return size
}

// draws are durations and sizes of several runs.
type draws struct {
	took []map[*plan.Step]time.Duration
	size []map[graph.Ref]int64
}

func newDraws(t *testing.T, all []*plan.Step, take func(*rand.Rand) float64, times float64) *draws {
	d := &draws{}
	for seed := range uint64(fleetRuns) {
		d.took = append(d.took, durations(t, all, take, seed))
		d.size = append(d.size, sizes(all, seed, times))
	}
	return d
}

// run returns how long the fleet takes, and how many bytes move, on average.
func (d *draws) run(t *testing.T, all []*plan.Step, f *fleet) (span time.Duration, moved int64) {
	for i := range d.took {
		g := &fleet{machines: f.machines, policy: f.policy, rate: f.rate, hub: f.hub, took: d.took[i], size: d.size[i]}
		span += g.run(t, all)
		moved += g.moved
	}
	return span / time.Duration(len(d.took)), moved / int64(len(d.took))
}

var fleets = []int{1, 2, 4, 8, 16, 64}

// TestFleetIsNearTheBound checks that fleets whose bytes are free are at most 10 % above
// the lower bound.
func TestFleetIsNearTheBound(t *testing.T) {
	all := plantest.TreeSteps(t)
	for _, d := range distributions {
		took := durations(t, all, d.take, 1)
		for _, n := range fleets {
			f := &fleet{machines: n, policy: byEnd, took: took}
			span, bound := f.run(t, all), lowerBound(all, took, n*jobsOfMachine)
			if span < bound || span > bound+bound/10 {
				t.Errorf("%s: %d machines take %s, the bound is %s", d.name, n, span, bound)
			}
		}
	}
}

// TestPlacementPays checks that a fleet with slow links is sooner, and moves less, than
// one that does not look where bytes are.
func TestPlacementPays(t *testing.T) {
	all := plantest.TreeSteps(t)
	took, size := durations(t, all, distributions[2].take, 1), sizes(all, 1, 10)
	for _, hub := range []bool{false, true} {
		spans, moved := map[policy]time.Duration{}, map[policy]int64{}
		for _, p := range []policy{byEnd, blind, roundRobin, sticky} {
			f := &fleet{machines: 4, policy: p, took: took, size: size, rate: 100e6 / 8, hub: hub}
			spans[p] = f.run(t, all)
			moved[p] = f.moved
		}
		for _, p := range []policy{blind, roundRobin, sticky} {
			if spans[byEnd] > spans[p] || moved[byEnd] > moved[p] {
				t.Errorf("hub %v: %s takes %s and moves %d bytes, sx %s and %d", hub, p, spans[p], moved[p], spans[byEnd], moved[byEnd])
			}
		}
	}
}
