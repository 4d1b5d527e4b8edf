// Package buildkit turns the request for one output into an OCI layout.
//
// An [Engine] is something that yields a BuildKit client and says what it is;
// the rest of the package does not know which. [Open] connects to one and
// returns a [Builder], which holds the one session that all builds share, and
// [Builder.Build] runs a request and puts the result into a staging folder of
// the cache.
//
// The package decides nothing about what is built, talks to no registry and
// writes nothing into a tree: definitions come as snapshots, sources are
// hashed while the engine reads them, dependencies come by digest.
//
// The engine inside sx is package embedded; this package holds the client side of
// every engine, and does not link BuildKit's solver.
//
// Start reading at builder.go, then solve.go; address.go is about engines elsewhere.
package buildkit
