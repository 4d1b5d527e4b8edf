package trace

import (
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// maxEvents bounds what is remembered of a run.
const maxEvents = 500_000

// collect returns an observer that calls done with the run when it has ended.
func collect(id string, done func(*report.Run)) func(events.Event) {
	kept := &runs.Run{ID: id, State: runs.Ended}
	return func(e events.Event) {
		switch e.Event {
		case events.FetchProgress, events.PreseedProgress, events.BuildLeft:
			return
		case events.BuildStep:
			if len(kept.Events) >= maxEvents {
				return
			}
		}
		kept.Events = append(kept.Events, e)
		if e.Event == events.RunEnd {
			done(report.Of(kept, time.Now()))
			kept.Events = nil
		}
	}
}

// phase is a part of an output's time: "waiting for downloads", from and to in seconds.
type phase struct {
	name     string
	from, to float64
}

// phases returns what the time of an output went into, in order, from when it was ready
// but for downloads, another sx and a job. The time in which it waited for dependencies
// is theirs.
func phases(o *report.Output) []phase {
	var all []phase
	at := began(o)
	for i, name := range []string{"waiting for downloads", "waiting for another sx", "waiting for a job"} {
		if waited := o.Waited[i+1]; waited > 0 {
			all = append(all, phase{name, at, min(at+waited, o.Start)})
			at = min(at+waited, o.Start)
		}
	}
	if o.Solved > 0 && o.End >= 0 {
		committing := max(o.Start, o.End-o.Commit)
		solving := max(o.Start, committing-o.Solved)
		all = append(all, phase{"solving", solving, committing}, phase{"committing", committing, o.End})
	}
	return all
}

// began returns when the span of an output begins.
func began(o *report.Output) float64 {
	return max(0, o.Start-o.Waited[1]-o.Waited[2]-o.Waited[3])
}

// ended returns when an output ended, or the run.
func ended(r *report.Run, o *report.Output) float64 {
	if o.End >= 0 {
		return o.End
	}
	return r.Length
}
