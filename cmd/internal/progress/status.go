package progress

import (
	"time"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// Waiting, Begin, Start, Progress, Finish, Estimate and Warn are driver.Status.

// Waiting shows what another sx holds.
func (d *Display) Waiting(what string) {
	d.tell(func(*state, time.Time) events.Event { return events.Event{Event: events.Waiting, Text: what} })
}

// Warn shows a warning.
func (d *Display) Warn(text string) {
	d.tell(func(*state, time.Time) events.Event { return events.Event{Event: events.Warning, Text: text} })
}

// Begin shows how much is planned, a program all of it.
func (d *Display) Begin(p *plan.Plan) {
	d.tell(func(s *state, now time.Time) events.Event {
		s.began(now)
		return s.builds.begin(p)
	})
	for _, step := range p.Steps {
		d.tell(func(*state, time.Time) events.Event { return planned(step) })
	}
}

// Start shows that a step runs.
func (d *Display) Start(step *plan.Step) {
	d.tell(func(s *state, now time.Time) events.Event { return s.builds.start(now, step) })
}

// Progress shows the instruction that a step runs.
func (d *Display) Progress(step *plan.Step, instruction string) {
	d.tell(func(s *state, _ time.Time) events.Event { return s.builds.step(step.Output.Ref, instruction) })
}

// Finish shows how a step ended, with the end of its log when it failed.
func (d *Display) Finish(_ *plan.Step, r driver.Result) {
	tail := failureTail(r)
	d.tell(func(s *state, _ time.Time) events.Event {
		e := s.builds.finish(r)
		e.Tail = tail
		return e
	})
}

// Estimate shows how long the rest of the run should take, running down until the
// next one.
func (d *Display) Estimate(left time.Duration) {
	d.tell(func(s *state, now time.Time) events.Event { return s.builds.estimate(now, left) })
}

// Interrupted shows that nothing new starts and what another Ctrl-C does.
func (d *Display) Interrupted() {
	d.tell(func(s *state, _ time.Time) events.Event {
		s.stopping = true
		return events.Event{Event: events.Interrupted}
	})
}

// Cancelled shows why what runs is being ended.
func (d *Display) Cancelled(why error) {
	d.tell(func(s *state, _ time.Time) events.Event {
		s.stopping = true
		return events.Event{Event: events.Cancelled, Text: why.Error()}
	})
}

// Run tells which run this is: a name that no other has, and what was typed.
func (d *Display) Run(id, command, version string) {
	d.tell(func(*state, time.Time) events.Event {
		return events.Event{Event: events.RunBegin, Run: id, Command: command, Version: version}
	})
}

// Judged tells programs the verdicts of the run. It comes after Close, and before End.
func (d *Display) Judged(vs []verdict.Verdict) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range vs {
		if d.closed {
			d.tellLate(judged(v))
		}
	}
}

// judged is a verdict, with its evidence.
func judged(v verdict.Verdict) events.Event {
	e := events.Event{
		Event: events.Verdict, Ref: v.Ref.String(), Verdict: v.String(), Word: string(v.Word), Given: v.Given,
		Engine: v.On(), Against: v.Against, Note: v.Note, Digest: hex(v.Got), Published: hex(v.Want),
	}
	for _, ref := range v.Tainted {
		e.Tainted = append(e.Tainted, ref.String())
	}
	return e
}

// End tells programs how the run ended: with this exit code, and the error that it
// ended early for. It comes last, after Close.
func (d *Display) End(code int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		return
	}
	e := d.state.runEnd(d.now())
	e.Code = &code
	if err != nil {
		e.Error = err.Error()
	}
	d.tellLate(e)
}
