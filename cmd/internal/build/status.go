package build

import (
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	Built   Outcome = "built"
	Saved   Outcome = "saved"   // planned, but its dependencies came out as they were
	Failed  Outcome = "failed"  // see Err
	Skipped Outcome = "skipped" // what it needs failed: see Cause
	NotRun  Outcome = "not run" // the run stopped before its turn
)

// Result is how a step of a run ended.
type Result struct {
	Ref     graph.Ref
	Outcome Outcome
	Digest  cache.Digest // of the first manifest, when in out/
	Err     error
	Cause   graph.Ref // what to blame when Skipped
	Log     string    // path of the build's log, "" when none
	Elapsed time.Duration
}

// Status is told what a run does. Calls are serialised.
type Status interface {
	// Sources is told about the downloads.
	Sources() fetch.Status
	// Waiting says that another sx holds something this run needs.
	Waiting(what string)
	// Begin comes once, before the first Start, with the number of steps.
	Begin(steps int)
	Start(s *Step)
	// Progress names the instruction that s runs.
	Progress(s *Step, instruction string)
	Finish(s *Step, r Result)
	// Warn is told what the user should know and what does not stop the run.
	Warn(text string)
}
