// Package graph reads the definitions of a StageX tree into an immutable
// Graph: which outputs there are, what each of them is built from, and what
// depends on what.
//
// Everything that can be known to be wrong before a build is an error of Load,
// with file, line and, where one is near, a suggestion: a key or placeholder
// that does not exist, a name that would leave its folder, a reference that
// BuildKit would look up elsewhere than in out/, a cycle.
//
// It refuses the network, the clock, the environment and the engine: its only
// input is an [io/fs.FS]. It follows no symbolic link. Containerfiles are read
// by BuildKit's own parser, so that an edge is what BuildKit will see, and
// package.toml strictly.
//
// Start at [Load]; [Graph.Select] turns what a user typed into refs,
// [Graph.Order] into an order to build them in, and [Output.Request] says what
// decides an output's bytes.
package graph
