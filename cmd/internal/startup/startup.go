// Package startup keeps the garbage collector from running before main does. What the
// libraries that sx links allocate while they are initialized is a little more than the
// heap at which Go collects first, and nearly all of it stays. A collection then costs a
// millisecond of each start and frees nothing.
//
// It imports little and its path sorts early, so that it is initialized before them.
package startup

import "runtime/debug"

var percent = debug.SetGCPercent(-1)

// Done lets the garbage collector run. It is the first that main calls.
func Done() { debug.SetGCPercent(percent) }
