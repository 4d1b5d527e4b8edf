// Package graph reads the definitions of a StageX tree into an immutable
// Graph: which outputs there are, what each of them is built from, and what
// depends on what.
//
// Everything that can be known to be wrong before a build breaks the definition at
// hand and what depends on it, with file, line and, if one is near, a suggestion: a
// placeholder that does not exist, a name that would leave its folder, a reference
// that BuildKit would look up elsewhere than in out/, a cycle. See [Graph.Broken].
//
// It refuses the network, the clock, the environment and the engine: its only
// input is an [io/fs.FS]. It follows no symbolic link. Containerfiles are read
// by BuildKit's own parser, so that an edge is what BuildKit will see, and
// package.toml strictly, but for keys that it does not know. All of it is bounded.
//
// Start at [Load]; [Graph.Select] turns what a user typed into refs,
// [Graph.Order] into an order to build them in, and [Output.Request] says what
// decides an output's bytes.
package graph
