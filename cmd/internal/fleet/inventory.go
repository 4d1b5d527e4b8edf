package fleet

import (
	"sync"
	"time"
)

// Inventory holds which engine has which outputs, and how fast bytes get to each. It is safe
// for concurrent use.
type Inventory struct {
	mu       sync.Mutex // guards machines
	machines []machine
}

// machine is what is known about one engine.
type machine struct {
	free bool // it reads out/ itself: nothing moves
	has  map[string]struct{}
	rate float64 // bytes a second, as last measured; 0: not yet
}

// assumedRate is the rate to an engine to which nothing has moved yet: 1 Gbit/s.
const assumedRate = 125e6

// NewInventory returns the inventory of n engines that have nothing.
func NewInventory(n int) *Inventory {
	i := &Inventory{machines: make([]machine, n)}
	for on := range i.machines {
		i.machines[on].has = map[string]struct{}{}
	}
	return i
}

// Free records that an engine is on this machine and links what out/ has.
func (i *Inventory) Free(on int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.machines[on].free = true
}

// Has records that an engine has outputs now.
func (i *Inventory) Has(on int, outputs ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, o := range outputs {
		i.machines[on].has[o] = struct{}{}
	}
}

// slowest and shortest bound what counts as a measurement: below, the connection was idle or
// the time is too short to tell.
const (
	smallestMove = 1 << 20
	shortestMove = 50 * time.Millisecond
)

// Measured records that so many bytes went to an engine while the connection was busy for so
// long. New measurements count half.
func (i *Inventory) Measured(on int, bytes int64, busy time.Duration) {
	if bytes < smallestMove || busy < shortestMove {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	rate := float64(bytes) / busy.Seconds()
	if m := &i.machines[on]; m.rate == 0 {
		m.rate = rate
	} else {
		m.rate = (m.rate + rate) / 2
	}
}

// Move returns how long the outputs that an engine does not have take to get to it. Sizes are
// in bytes.
func (i *Inventory) Move(on int, sizes map[string]int64) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	m := i.machines[on]
	if m.free {
		return 0
	}
	var bytes int64
	for name, size := range sizes {
		if _, ok := m.has[name]; !ok {
			bytes += size
		}
	}
	rate := m.rate
	if rate == 0 {
		rate = assumedRate
	}
	return time.Duration(float64(bytes) / rate * float64(time.Second))
}
