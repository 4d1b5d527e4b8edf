// Package driver runs a plan: it fetches, pulls, builds, commits and records.
//
// [Build] plans and runs; [Preseed], [PushImages] and [WriteDigests] are the other jobs
// that change something. Each output flows through step.go: claim it, fetch what it
// needs, build it, commit it to out/, record it. What is decided before is elsewhere:
// package plan says what would be built and why, package schedule in which order,
// package verdict what is proven, package tree what lies there.
//
// It prints nothing: what happens is told to a [Status].
package driver
