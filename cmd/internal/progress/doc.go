// Package progress shows on standard error what a run does: downloads, builds,
// what waits, what failed. It decides nothing, keeps nothing and never writes
// to standard output.
//
// Start at [New]: a [Display] is the build.Status of a run, and its Sources the
// fetch.Status. How it shows is its [Mode]:
//
//   - tty: a line for each running thing, redrawn at most ten times a second,
//     and a line of totals; what ended scrolls above them
//   - plain: a line for each change of state, one every ten seconds for a
//     download, and one a minute for what builds
//   - quiet: failures and warnings only
//   - rawjson: an event a line, see below
//
// Names, instructions, messages and logs are shown escaped by package text.
// What cannot be written is lost: no progress stops a run.
//
// # rawjson
//
// Each line is a JSON object. It has "time" (RFC 3339, UTC) and "event"; fields
// that have nothing to say are absent. Versions of sx add events and fields and
// change none. Strings are what the tree and the servers sent, bytes that are
// no UTF-8 replaced by U+FFFD; what could act on a terminal or a CI system is
// written as \u escapes. Sizes are bytes, rates bytes a second, "elapsed" and
// "left" seconds.
//
//	fetch_begin     sources (how many)
//	fetch_start     source, path, mirror, bytes (here already), size: a mirror
//	                answers; again for a next mirror or from a lower offset
//	fetch_progress  source, path, bytes, size, rate, left: at most ten a second
//	fetch_done      source, path, how (present, fetched, linked); after a
//	                download also bytes, elapsed, rate
//	fetch_fail      source, path, error; mirror, when only that one was given up
//	fetch_end       sources, present, fetched, linked, failed, bytes (read from
//	                servers), elapsed
//	build_begin     steps (how many)
//	build_start     ref, reason, because (the dependency that makes it necessary)
//	build_step      ref, instruction
//	build_finish    ref, outcome (built, saved, failed, skipped, not run), digest,
//	                error, cause (what is to blame when skipped), log (a path),
//	                elapsed; of the run so far: done, failed, steps
//	build_left      left: how long the rest of the run should take
//	waiting         text: what another sx holds
//	warning         text
package progress
