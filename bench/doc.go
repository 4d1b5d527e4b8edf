// Package bench measures sx beside the tools that its users would take instead.
// It holds nothing but benchmarks; docs/registries.md has a table of theirs, and
// scripts/bench installs the tools and runs them.
package bench
