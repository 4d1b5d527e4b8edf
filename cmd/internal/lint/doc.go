// Package lint checks definitions without building them: Containerfiles by the rules of
// BuildKit's own linter, in the very function that a build with --check calls, and
// package.toml and the use of sources, ARGs and dependencies by rules of its own.
//
// A [Rule] has a name, a level and a reason; docs/lint.md has a section on each. A file
// silences rules with a comment, and a [Baseline] keeps old findings quiet.
//
// It reads definitions that package graph has loaded, and files of the tree's fs.FS. It runs
// nothing, asks no registry and no engine, and changes nothing: what a base image sets is
// not known to it, and no rule of its own guesses. Start at [Run].
package lint
