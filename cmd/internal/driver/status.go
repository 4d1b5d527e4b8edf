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

// Result says how a step of a run ended.
type Result struct {
	Ref     graph.Ref
	Outcome plan.Outcome
	Digest  oci.Digest // of the first manifest in out/, zero if there is none
	Err     error
	Cause   graph.Ref // of Skipped: the output that failed
	Log     string    // path of the build's log, "" if there is none
	Hub     string    // of Reused: the hub that its image was brought from, "" if none
	Elapsed time.Duration
	// Solved is how long the engine took, and Committed how long checking and writing
	// its result into out/ did. Memory is the peak of one RUN in bytes, 0 if unknown,
	// and Size that of the blobs in out/. All are zero for what was not built.
	Solved, Committed time.Duration
	Memory, Size      int64

	log *buildlog.Writer // until the step has ended
}

// Status receives the events of a run. Calls are serialised.
type Status interface {
	// Sources returns the receiver of events about downloads.
	Sources() fetch.Status
	// Waiting is called when another sx holds a lock that this run needs.
	Waiting(what string)
	// Begin is called once, before the first Start.
	Begin(plan *plan.Plan)
	// Start is called for each step that builds. A step that turns out to be up to date
	// ends without a Start. The members of a family start before the first of them ends.
	Start(s *plan.Step)
	// Progress is called with each instruction that s runs.
	Progress(s *plan.Step, instruction string)
	// Finish is called when a step has ended.
	Finish(s *plan.Step, r Result)
	// Estimate is called with how long the rest of the run should take, after Begin,
	// at most once a second, and not after the last step has ended.
	Estimate(left time.Duration)
	// Warn is called with a message for the user that does not stop the run.
	Warn(text string)
}

// lastLine returns the last line of a build's log. It begins with the outcome, as
// [buildlog.Log].Ended expects.
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
