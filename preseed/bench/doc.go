// Package bench compares sx preseed with other tools that pull images. It contains
// benchmarks only: scripts/bench preseed installs the tools and runs them, and
// docs/preseed.md has a table of the results.
package bench
