// Package graph reads the definitions of a StageX tree into an immutable Graph: which
// outputs there are, the dependencies of each, and its dependents.
//
// An error that can be known before a build breaks the definition and its dependents, with
// file, line and, if one is near, a suggestion: an unknown placeholder, a name that would
// leave its folder, a reference that BuildKit would not look up in out/, a cycle. See
// [Graph.Broken].
//
// It uses no network, clock, environment or engine: its only input is an [io/fs.FS]. It
// follows no symbolic link. BuildKit's own parser reads Containerfiles, so that an edge is
// what BuildKit will see; package.toml is read strictly, but unknown keys are only noted.
// Everything is bounded.
//
// Start at [Load]. [Graph.Select] turns what a user typed into refs, [Graph.Order] into an
// order to build them in, and [Output.Request] returns what decides an output's bytes.
package graph
