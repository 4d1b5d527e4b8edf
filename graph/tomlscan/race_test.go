//go:build race

package tomlscan_test

// maxAllocated bounds what a test may allocate: 100 MB, of which the race detector
// makes several times as much, because it keeps nothing in a sync.Pool.
const maxAllocated = 300 << 20
