// Package plan decides what a build would do, with a reason for each step.
//
// [New] makes a [Plan]; [Explain] follows a reason down to the file that changed;
// frontier.go lets published images stand for dependencies. It reads and hashes, and
// changes nothing.
package plan
