package trace

import (
	"cmp"
	"strings"
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

// solving is the phase in which the engine works.
const solving = "solving"

// phase is a part of an output's time: "waiting for downloads", from and to in seconds.
type phase struct {
	name     string
	from, to float64
}

// phases returns what the time of an output went into, in order, from when it was ready
// but for downloads, another sx and a job. The time in which it waited for dependencies
// is theirs. Fetched are its downloads: most happen before, while others are built.
func phases(r *report.Run, o *report.Output, fetched []*report.Download) []phase {
	var all []phase
	at := began(o)
	for i, name := range []string{"waiting for downloads", "waiting for another sx", "waiting for a job"} {
		if waited := o.Waited[i+1]; waited > 0 {
			all = append(all, phase{name, at, min(at+waited, o.Start)})
			at = min(at+waited, o.Start)
		}
	}
	if p, ok := fetching(r, o, fetched); ok {
		all = append(all, p)
	}
	if o.Solved > 0 && o.End >= 0 {
		committing := max(o.Start, o.End-o.Commit)
		began := max(o.Start, committing-o.Solved)
		all = append(all, phase{solving, began, committing}, phase{"committing", committing, o.End})
	}
	return all
}

// fetching returns the part of an output's time in which it was downloaded, or a source of
// its definition.
func fetching(r *report.Run, o *report.Output, fetched []*report.Download) (phase, bool) {
	p := phase{"fetching", ended(r, o), began(o)}
	for _, d := range fetched {
		from, to := max(d.Start, began(o)), min(downloaded(r, d), ended(r, o))
		if from < to {
			p.from, p.to = min(p.from, from), max(p.to, to)
		}
	}
	return p, p.from < p.to
}

// downloads are those of a run, by the output or the definition that they are for.
type downloads map[string][]*report.Download

func downloadsOf(r *report.Run) downloads {
	all := downloads{}
	for _, d := range r.Downloads {
		definition, _, _ := strings.Cut(d.Name, ": ") // core/zlib: src; of an image core-zlib
		name := strings.Replace(definition, "/", "-", 1)
		all[name] = append(all[name], d)
	}
	return all
}

// of returns those for an output.
func (all downloads) of(o *report.Output) []*report.Download { return all[cmp.Or(o.Family, o.Ref)] }

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
