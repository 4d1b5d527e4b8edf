// Package progress shows on standard error what a run does: downloads, builds,
// what waits, what failed. It decides nothing, keeps nothing and never writes
// to standard output.
//
// Start at [New]: a [Display] is the build.Status of a run, and its Sources the
// fetch.Status. How it shows is its [Mode]; docs/progress.md says what each
// shows, and specifies the events of rawjson.
//
// Every call takes an event into the state, which costs the same however large
// the run is, and hands it to the mode's view, which writes through a spool: no
// call waits for the reader. Lines that cannot be written are lost.
//
// Names, instructions, messages and logs are shown escaped by package text.
package progress
