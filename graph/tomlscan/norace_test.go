//go:build !race

package tomlscan_test

// maxAllocated bounds what a test may allocate.
const maxAllocated = 100 << 20
