package progress

import (
	"time"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/fetch"
)

// Waiting, Begin, Start, Progress, Finish, Estimate and Warn are build.Status.

// Waiting shows what another sx holds.
func (d *Display) Waiting(what string) {
	d.tell(func(*state, time.Time) event { return event{Event: waiting, Text: what} })
}

// Warn shows a warning.
func (d *Display) Warn(text string) {
	d.tell(func(*state, time.Time) event { return event{Event: warning, Text: text} })
}

// Begin adds to the number of steps.
func (d *Display) Begin(steps int) {
	d.tell(func(s *state, now time.Time) event { return s.beginBuilds(now, steps) })
}

// Start shows that a step runs.
func (d *Display) Start(step *build.Step) {
	d.tell(func(s *state, now time.Time) event { return s.startBuild(now, step) })
}

// Progress shows the instruction that a step runs.
func (d *Display) Progress(step *build.Step, instruction string) {
	d.tell(func(s *state, _ time.Time) event { return s.stepBuild(step.Output.Ref, instruction) })
}

// Finish shows how a step ended, with the end of its log when it failed.
func (d *Display) Finish(_ *build.Step, r build.Result) {
	d.tell(func(s *state, _ time.Time) event { return s.finishBuild(r) })
}

// Estimate takes in how long the rest of the run should take.
func (d *Display) Estimate(left time.Duration) {
	d.tell(func(*state, time.Time) event { return event{Event: buildLeft, Left: new(length(left))} })
}

// sources is the half of a Display that is told about downloads.
type sources struct{ d *Display }

var _ fetch.Status = sources{}

func (f sources) Begin(n int) {
	f.d.tell(func(s *state, now time.Time) event { return s.beginFetch(now, n) })
}

func (f sources) Start(src fetch.Source, mirror string, done, size int64) {
	f.d.tell(func(s *state, now time.Time) event { return s.startFetch(now, src, mirror, done, size) })
}

func (f sources) Advance(src fetch.Source, done, size int64) {
	f.d.tell(func(s *state, now time.Time) event { return s.advanceFetch(now, src, done, size) })
}

func (f sources) Done(src fetch.Source, how string) {
	f.d.tell(func(s *state, now time.Time) event { return s.doneFetch(now, src, how) })
}

func (f sources) Fail(src fetch.Source, mirror string, err error) {
	f.d.tell(func(s *state, _ time.Time) event { return s.failFetch(src, mirror, err) })
}

func (f sources) End() {
	f.d.tell(func(s *state, now time.Time) event { return s.endFetch(now) })
}
