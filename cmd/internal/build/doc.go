// Package build is the driver: it joins the graph, the sources, the engine and
// the cache, and decides what happens, in which order and why.
//
// A [Tree] is an open checkout. [Tree.Plan] says what a build would do, with a
// reason for each step; [Tree.Build] does it; [Tree.Verify], [Tree.Digests] and
// [Tree.WriteDigests] judge and list what is in out/.
//
// It prints nothing: what happens is told to a [Status].
package build
