// Package schedule decides in which order the steps of a plan run, and how many at
// once; see docs/scheduling.md.
//
// It starts no process and knows no engine: [Schedule] calls what its fields say. How
// long builds took is kept in the store's file "builds" (timings.go), for estimates only.
package schedule
