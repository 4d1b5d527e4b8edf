// Package checkout keeps the tree of a commit that a git server has, for who has no clone:
// fetched once, and checked against the commit's hash each time it is used.
//
// It refuses to run git, its hooks, filters or configuration; links that could lead out of
// the tree; names that mean something to git or sx; and a kept tree that is not the
// commit's any more. It decides nothing about what is done with the tree.
package checkout
