package driver

import (
	"fmt"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/buildlog"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Result is how a step of a run ended.
type Result struct {
	Ref     graph.Ref
	Outcome plan.Outcome
	Digest  oci.Digest // of the first manifest, when in out/
	Err     error
	Cause   graph.Ref // what to blame when Skipped
	Log     string    // path of the build's log, "" when none
	Elapsed time.Duration

	log *buildlog.Writer // until the step has ended
}

// Status is told what a run does. Calls are serialised.
type Status interface {
	// Sources is told about the downloads.
	Sources() fetch.Status
	// Waiting says that another sx holds something this run needs.
	Waiting(what string)
	// Begin comes once, before the first Start, with all that is planned.
	Begin(plan *plan.Plan)
	// Start comes for every step that builds. A family's come one after the
	// other, before the first of it has ended; a member that is up to date after
	// all ends without a Start.
	Start(s *plan.Step)
	// Progress names the instruction that s runs.
	Progress(s *plan.Step, instruction string)
	Finish(s *plan.Step, r Result)
	// Estimate says how long the rest of the run should take from now on. It
	// comes after Begin, whenever that is known better than by the passing of
	// time: at most once a second, and not where nothing runs any more.
	Estimate(left time.Duration)
	// Warn is told what the user should know and what does not stop the run.
	Warn(text string)
}

// lastLine begin with the outcome, see [buildlog.Log.Ended].
func lastLine(res Result) string {
	said := fmt.Sprintf("%s after %s", res.Outcome, text.Duration(res.Elapsed))
	switch {
	case res.Err != nil:
		return said + ": " + text.Field(res.Err.Error())
	case res.Outcome == plan.Built:
		return said + ": " + res.Digest.String()
	}
	return said
}
