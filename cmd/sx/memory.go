package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectLate collects garbage at five times what lives, instead of twice, for as
// long as that is little: commands are short and small, and reading 444 definitions
// takes a third less. A tree a hundred times as large must not take five times the
// memory.
func collectLate() {
	debug.SetGCPercent(400)
	type sentinel struct{ _ *byte }
	var watch func(*sentinel)
	watch = func(s *sentinel) { // runs after every collection
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		switch mb := live[0].Value.Uint64() >> 20; {
		case mb > 160:
			debug.SetGCPercent(50)
		case mb > 64:
			debug.SetGCPercent(100)
		}
		runtime.SetFinalizer(s, watch)
	}
	runtime.SetFinalizer(&sentinel{}, watch)
}
