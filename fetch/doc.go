// Package fetch brings the sources that package.toml files name into the
// tree's fetch/ folder, by hash: over mirrors, in parallel, resumable, verified.
//
// It refuses to know what is built, to write anywhere but under fetch/ and its
// own TempDir, to follow a symbolic link in the tree, to speak anything but
// http and https (what Options.First speaks, its caller does), and to leave bytes
// it has not hashed under a final name.
//
// Start at Run (run.go). One hash's way is job.go: check what lies in fetch/
// (check.go, tree.go), move what is wrong away (wrong.go), lock and resume the partial
// file (partial.go, temp.go, budget.go), go over the mirrors (get.go,
// mirrors.go) by means of package transfer, put the file in place (place.go).
//
// upstream: src/fetch.py.
package fetch
