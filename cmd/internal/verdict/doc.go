// Package verdict decides what is proven of the outputs in out/.
//
// A [Judge] gives each output a [Verdict] with its evidence: judge.go decides MATCH,
// inputs.go counts the unproven inputs of a closure, baseline.go decides which published
// images may be used instead of a build.
//
// The package builds nothing and uses no network. It knows nothing of signatures: they are
// printed beside a verdict, and never change it.
package verdict
