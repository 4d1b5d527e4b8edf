// Package plan decides what a build would do, with a reason for each step.
//
// [New] makes a [Plan]; stale.go decides whether an output must be built, frontier.go
// which published images are used instead; [Explain] follows a reason to the file that
// changed. The package reads and hashes files, and changes none.
package plan
