// Package buildkit turns the request for one output into an OCI layout.
//
// An [Engine] yields a connection to a BuildKit. [Open] connects to one and returns a
// [Builder], which holds the one session that all builds share. [Builder.Build] runs a
// request and puts the result into a staging folder of the cache.
//
// The package does not decide what is built, talks to no registry and writes nothing
// into a tree: definitions come as snapshots, sources are hashed while the engine reads
// them, dependencies come by digest.
//
// This package is the client side of every engine and does not link BuildKit's solver.
// The engine inside sx is package embedded, those elsewhere are in package remote.
//
// Start reading at builder.go, then solve.go.
package buildkit
