package progress

import (
	"time"

	"codeberg.org/stagex/sx/graph"

	"codeberg.org/stagex/sx/cmd/internal/events"
)

// state is what a run has come to. Its methods, and those of its parts, take in
// what happened and give the event to show.
type state struct {
	start    time.Time // of the first Begin
	fetch    fetching
	images   fetching // published images
	builds   builds
	stopping bool // nothing new starts
}

func newState() *state {
	return &state{
		fetch:  newFetching(ofSources),
		images: newFetching(ofImages),
		builds: builds{running: map[graph.Ref]*job{}},
	}
}

func (s *state) began(now time.Time) {
	if s.start.IsZero() {
		s.start = now
	}
}

// busy reports that something runs or is about to.
func (s *state) busy() bool {
	return s.fetch.runs > 0 || s.images.runs > 0 || len(s.builds.running) > 0 || s.builds.ended < s.builds.total
}

// runEnd is what came of it all.
func (s *state) runEnd(now time.Time) events.Event {
	b := &s.builds
	e := events.Event{
		Event: events.RunEnd, Done: new(b.done), Saved: new(b.saved), Taken: new(b.taken), Failed: new(b.failed), Skipped: new(b.skipped), Steps: new(b.total), UpToDate: new(b.upToDate),
		Elapsed: new(events.Length(0)),
	}
	if !s.start.IsZero() {
		e.Elapsed = new(events.Length(now.Sub(s.start)))
	}
	e.Time = now.UTC()
	return e
}
