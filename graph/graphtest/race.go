//go:build race

package graphtest

// raced is how many times as much the race detector allocates: it keeps little in a
// sync.Pool.
const raced = 10
