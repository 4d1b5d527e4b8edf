// Package schedule decides in which order the steps of a plan run, and how many at
// once; see docs/scheduling.md.
//
// It starts no process and knows no engine: a [Schedule] calls its fields Do, Skip and
// Claim. The store's file "builds" (timings.go) keeps how long builds took, for estimates
// only.
package schedule
