package driver

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// outcomes are how the steps of a run ended and what ends it early. It tells the user, one
// call of Status at a time. It is safe for concurrent use.
type outcomes struct {
	keepGoing bool // see [Options].KeepGoing

	mu      sync.Mutex // guards all below
	status  Status
	results map[graph.Ref]*Result
	broken  map[graph.Ref]error // outputs whose sources or images could not be fetched
	untimed schedule.Average    // of builds in this run that were never timed before
	stopped bool                // a failure without keepGoing
	fatal   error               // of the engine or the disk: nothing more can be built
}

func newOutcomes(status Status, keepGoing bool) *outcomes {
	return &outcomes{keepGoing: keepGoing, status: status, results: map[graph.Ref]*Result{}, broken: map[graph.Ref]error{}}
}

// of returns the results of the steps that were not up to date, in plan order.
func (o *outcomes) of(p *plan.Plan) (results []Result) {
	for _, s := range p.Steps {
		if res := o.results[s.Output.Ref]; res != nil {
			results = append(results, *res)
		} else if s.Action != plan.ActionNone {
			results = append(results, Result{Ref: s.Output.Ref, Outcome: plan.NotRun})
		}
	}
	return results
}

// finish records and reports how a step ended.
func (o *outcomes) finish(s *plan.Step, res Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	res.Ref, res.log = s.Output.Ref, nil
	o.note(res)
	o.status.Finish(s, res)
}

// record records how a step ended that Status is told of by package preseed.
func (o *outcomes) record(res Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.note(res)
}

// note is record for a caller that holds the lock.
func (o *outcomes) note(res Result) {
	o.results[res.Ref] = &res
	if res.Outcome == plan.Failed && !o.keepGoing {
		o.stopped = true
	}
}

// stopping reports whether an error forbids that anything starts.
func (o *outcomes) stopping() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopped || o.fatal != nil
}

// abort ends the run early because of an error that no step caused.
func (o *outcomes) abort(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fatal = cmp.Or(o.fatal, err)
}

// full is abort because of too little free disk, and tells the user.
func (o *outcomes) full(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fatal == nil {
		o.fatal = err
		o.status.Warn("less disk is free than build.disk_floor: running builds finish, nothing new starts")
	}
}

// fail ends the run early if err, of a step, would fail every other build too.
func (o *outcomes) fail(err error) {
	var full *tree.DiskFullError
	var gone *EngineGoneError
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case errors.As(tree.AsDiskFull(err), &full):
		o.fatal = full
	case errors.As(err, &gone):
		o.fatal = gone
	}
}

// markBroken records why a step cannot be built.
func (o *outcomes) markBroken(s *plan.Step, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken[s.Output.Ref] == nil {
		o.broken[s.Output.Ref] = err
	}
}

// brokenBy returns why a step cannot be built, nil if it can.
func (o *outcomes) brokenBy(s *plan.Step) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.broken[s.Output.Ref]
}

// untimedEstimate returns the average of the run's builds that were never timed before,
// 0 if there is none yet.
func (o *outcomes) untimedEstimate() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.untimed.Value()
}

func (o *outcomes) addUntimed(took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.untimed.Add(took)
}

// tell lets say call Status while no other goroutine does.
func (o *outcomes) tell(say func(Status)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	say(o.status)
}

func (o *outcomes) warn(text string)            { o.tell(func(s Status) { s.Warn(text) }) }
func (o *outcomes) waiting(what string)         { o.tell(func(s Status) { s.Waiting(what) }) }
func (o *outcomes) start(step *plan.Step)       { o.tell(func(s Status) { s.Start(step) }) }
func (o *outcomes) estimate(left time.Duration) { o.tell(func(s Status) { s.Estimate(left) }) }
func (o *outcomes) progress(step *plan.Step, instruction string) {
	o.tell(func(s Status) { s.Progress(step, instruction) })
}
