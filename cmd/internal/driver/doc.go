// Package driver runs a plan: it fetches, pulls, builds, commits and records.
//
// [Build] plans and runs; [Preseed], [PushImages] and [WriteDigests] are the other jobs
// that change something. Each output flows through step.go: lock it, fetch its sources,
// build it, commit it to out/, record it. The decisions are made elsewhere: package plan
// says which outputs are built and why, package schedule in which order, package verdict
// which are proven.
//
// The package prints nothing; it reports to a [Status].
package driver
