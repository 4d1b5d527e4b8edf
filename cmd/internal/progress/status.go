package progress

import (
	"time"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
)

// Waiting, Begin, Start, Progress, Finish, Estimate and Warn are driver.Status.

// Waiting shows what another sx holds.
func (d *Display) Waiting(what string) {
	d.tell(func(*state, time.Time) event { return event{Event: waiting, Text: what} })
}

// Warn shows a warning.
func (d *Display) Warn(text string) {
	d.tell(func(*state, time.Time) event { return event{Event: warning, Text: text} })
}

// Begin shows how much is planned, a program all of it.
func (d *Display) Begin(p *plan.Plan) {
	d.tell(func(s *state, now time.Time) event {
		s.began(now)
		return s.builds.begin(p)
	})
	for _, step := range p.Steps {
		if step.Action != plan.ActionNone {
			d.tell(func(*state, time.Time) event { return planned(step) })
		}
	}
}

// Start shows that a step runs.
func (d *Display) Start(step *plan.Step) {
	d.tell(func(s *state, now time.Time) event { return s.builds.start(now, step) })
}

// Progress shows the instruction that a step runs.
func (d *Display) Progress(step *plan.Step, instruction string) {
	d.tell(func(s *state, _ time.Time) event { return s.builds.step(step.Output.Ref, instruction) })
}

// Finish shows how a step ended, with the end of its log when it failed.
func (d *Display) Finish(_ *plan.Step, r driver.Result) {
	d.tell(func(s *state, _ time.Time) event { return s.builds.finish(r) })
}

// Estimate shows how long the rest of the run should take, running down until the
// next one.
func (d *Display) Estimate(left time.Duration) {
	d.tell(func(s *state, now time.Time) event { return s.builds.estimate(now, left) })
}

// Interrupted shows that nothing new starts and what another Ctrl-C does.
func (d *Display) Interrupted() {
	d.tell(func(s *state, _ time.Time) event {
		s.stopping = true
		return event{Event: interrupted}
	})
}

// Cancelled shows why what runs is being ended.
func (d *Display) Cancelled(why error) {
	d.tell(func(s *state, _ time.Time) event {
		s.stopping = true
		return event{Event: cancelled, Text: why.Error()}
	})
}

// End tells a program that reads rawjson how the run ended: with this exit code,
// and the error that it ended early for. It comes last, after Close.
func (d *Display) End(code int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.view.(*rawJSON); ok && d.closed {
		e := d.state.runEnd(d.now())
		e.Code = &code
		if err != nil {
			e.Error = err.Error()
		}
		v.w = d.spool.w // which waits for none any more
		v.show(e)
	}
}
