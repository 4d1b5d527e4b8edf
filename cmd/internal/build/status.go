package build

import (
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	Built     Outcome = "built"
	Saved     Outcome = "saved"     // planned, but its dependencies came out as they were
	Taken     Outcome = "taken"     // another sx built it meanwhile
	Preseeded Outcome = "preseeded" // its published image was pulled
	Failed    Outcome = "failed"    // see Err
	Skipped   Outcome = "skipped"   // what it needs failed: see Cause
	NotRun    Outcome = "not run"   // the run stopped before its turn
)

// Result is how a step of a run ended.
type Result struct {
	Ref     graph.Ref
	Outcome Outcome
	Digest  oci.Digest // of the first manifest, when in out/
	Err     error
	Cause   graph.Ref // what to blame when Skipped
	Log     string    // path of the build's log, "" when none
	Elapsed time.Duration

	log *buildLog // until the step has ended
}

// Status is told what a run does. Calls are serialised.
type Status interface {
	// Sources is told about the downloads.
	Sources() fetch.Status
	// Waiting says that another sx holds something this run needs.
	Waiting(what string)
	// Begin comes once, before the first Start, with all that is planned.
	Begin(plan *Plan)
	// Start comes for every step that builds. A family's come one after the
	// other, before the first of it has ended; a member that is up to date after
	// all ends without a Start.
	Start(s *Step)
	// Progress names the instruction that s runs.
	Progress(s *Step, instruction string)
	Finish(s *Step, r Result)
	// Estimate says how long the rest of the run should take from now on. It
	// comes after Begin, whenever that is known better than by the passing of
	// time: at most once a second, and not where nothing runs any more.
	Estimate(left time.Duration)
	// Warn is told what the user should know and what does not stop the run.
	Warn(text string)
}
