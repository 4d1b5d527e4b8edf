// Package bench measures sx beside the tools that its users would take instead.
// It holds nothing but benchmarks; docs/preseed.md has a table of theirs, and
// run installs the tools and runs them.
package bench
