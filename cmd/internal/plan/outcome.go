package plan

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
