package graphtest

import (
	"fmt"
	"runtime"
)

// Cost is what was allocated: bytes, and objects.
type Cost struct{ Bytes, Objects uint64 }

// CostOf calls do and returns what the whole process allocated meanwhile.
func CostOf(do func()) Cost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return Cost{after.TotalAlloc - before.TotalAlloc, after.Mallocs - before.Mallocs}
}

// Bounded returns an error if c is more than a refusal may cost: 100 MB and 100 ms.
//
// The time is bounded by what makes it up, because a test that asks the clock fails
// on a busy machine: the readers of definitions make a fixed number of passes over
// input of at most 1 MB, allocate for all that they find, and expand at most 16 MB
// of words, which are allocated too. 500,000 small objects take 20 to 50 ms of one
// core, and filling 100 MB takes as long.
func (c Cost) Bounded() error {
	if c.Bytes > raced*100<<20 || c.Objects > raced*500_000 {
		return fmt.Errorf("%d bytes in %d objects were allocated", c.Bytes, c.Objects)
	}
	return nil
}
