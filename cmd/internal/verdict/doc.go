// Package verdict says what is proven of the outputs in out/.
//
// [Judge] gives each output a [Verdict] with the evidence that it rests on: MATCH is
// decided in judge.go, the unproven inputs of a closure are counted in inputs.go.
//
// It builds nothing, asks no network, and knows nothing of signatures, which are said
// beside a verdict and never change it.
package verdict
