// Package runs keeps the event streams of runs in the folder runs/ of a tree's state
// folder, and reads them again. Only runs that built or downloaded something are
// kept, at most [KeptRuns] of them and [MaxTotal] bytes.
//
// A run is a file of lines of rawjson. While it goes on the file is called ID.part and
// is locked; at the end it is synced and becomes ID.jsonl. A file ID.part without a
// lock belongs to a sx that was killed. Files are not trusted: a line that is no event
// is skipped and counted.
//
// It decides nothing and shows nothing.
package runs

// Bounds of what is kept.
const (
	KeptRuns = 50
	MaxRun   = 16 << 20 // bytes of one run; events beyond it are dropped and counted
	MaxTotal = 64 << 20 // bytes of all but the newest run
)

const (
	folder     = "runs"
	partExt    = ".part"
	keptExt    = ".jsonl"
	idTime     = "20060102T150405.000Z"
	maxEntries = 10_000 // of the folder that are looked at
)
