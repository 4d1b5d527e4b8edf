// Package fetch downloads the sources of package.toml files into the tree's fetch/
// folder, by hash: from mirrors, in parallel, resumable, verified.
//
// It does not know what is built. It writes only under fetch/ and its own TempDir,
// follows no symbolic link in the tree, uses only http and https (Options.First brings
// its own client), and gives a file its final name only after hashing it.
//
// Start at Run (run.go). job.go has the steps for one hash: check the files in fetch/
// (check.go, tree.go), move wrong files away (wrong.go), lock and resume the partial
// file (partial.go, temp.go, budget.go), try the mirrors (get.go, mirrors.go) with
// package transfer, and give the file its final name (place.go).
//
// upstream: src/fetch.py.
package fetch
