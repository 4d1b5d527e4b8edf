package report

import (
	"time"

	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// Run is what a page shows of a run. Times are seconds since it began, and durations
// seconds.
type Run struct {
	ID      string     `json:"id"`
	State   runs.State `json:"state"`
	Command string     `json:"command,omitempty"`
	Version string     `json:"version,omitempty"`
	Engine  string     `json:"engine,omitempty"`
	Began   time.Time  `json:"began"`
	Length  float64    `json:"length"` // until the last event
	Code    *int       `json:"code,omitempty"`
	Error   string     `json:"error,omitempty"`
	Left    float64    `json:"left,omitempty"` // estimated, of a running one

	Damaged int `json:"damaged,omitempty"` // lines that could not be read
	Lost    int `json:"lost,omitempty"`    // events that were dropped

	Outputs   []*Output   `json:"outputs"`   // in the order of the plan
	Downloads []*Download `json:"downloads"` // in the order they ended
	Messages  []Message   `json:"messages"`
	Critical  []int       `json:"critical"` // outputs, by index, from the first to the last
	// Engines are the rows of each engine in the timeline, if there are several; those of
	// the name "" are of what no engine did.
	Engines []EngineLanes `json:"engines,omitempty"`
	Counts  Counts        `json:"counts"`
	Saved   Saved         `json:"saved"`

	index  map[string]int
	active map[string]*Download // by key
}

// EngineLanes are rows of the timeline.
type EngineLanes struct {
	Name  string `json:"name"`
	First int    `json:"first"`
	Lanes int    `json:"lanes"`
}

// Output is an output of the plan of a run.
type Output struct {
	Ref    string `json:"ref"`
	Stage  string `json:"stage"`
	Action string `json:"action,omitempty"` // build or preseed; "" if there was nothing to do
	// State is an outcome of docs/progress.md, or one of [Waiting], [Building] and
	// [Current]; [Broken] if the run was interrupted while it was built.
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Because string `json:"because,omitempty"`
	Family  string `json:"family,omitempty"`
	Depends []int  `json:"depends,omitempty"` // by index
	Outside int    `json:"outside,omitempty"` // dependencies that the plan leaves out

	Start    float64    `json:"start"` // -1 if it never started
	End      float64    `json:"end"`   // -1 if it never ended
	Lane     int        `json:"lane"`  // row of the timeline; -1 for none
	Expected float64    `json:"expected,omitempty"`
	Guessed  bool       `json:"guessed,omitempty"`
	Last     float64    `json:"last,omitempty"` // how long the build in out/ took before this run
	Waited   [4]float64 `json:"waited"`         // for dependencies, downloads, another sx, a job
	Solved   float64    `json:"solved,omitempty"`
	Commit   float64    `json:"commit,omitempty"`
	Memory   int64      `json:"memory,omitempty"` // peak, in bytes; before the build, what earlier ones took
	Size     int64      `json:"size,omitempty"`
	Steps    []Step     `json:"steps,omitempty"` // the last instructions
	Engine   string     `json:"engine,omitempty"`

	Digest    string   `json:"digest,omitempty"`
	Published string   `json:"published,omitempty"`
	Verdict   string   `json:"verdict,omitempty"` // with its conditions
	Word      string   `json:"word,omitempty"`    // MATCH, …
	Note      string   `json:"note,omitempty"`
	Given     int      `json:"given,omitempty"`
	Tainted   []string `json:"tainted,omitempty"`

	Error string `json:"error,omitempty"`
	Cause string `json:"cause,omitempty"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Tail  string `json:"tail,omitempty"`
	Log   string `json:"log,omitempty"`

	History []Past `json:"history,omitempty"` // earlier builds, the oldest first
}

// States of an output that are no outcomes.
const (
	Waiting  = "waiting"
	Building = "building"
	Current  = "up to date"
	Broken   = "interrupted"
)

// Step is an instruction that an output's build ran.
type Step struct {
	At   float64 `json:"at"`
	Text string  `json:"text"`
}

// Past is how long a build took in another run.
type Past struct {
	Run     string  `json:"run"`
	Seconds float64 `json:"seconds"`
}

// Download is a source or an image.
type Download struct {
	Name   string   `json:"name"`
	Place  string   `json:"place,omitempty"` // mirror or registry
	How    string   `json:"how,omitempty"`
	Start  float64  `json:"start"`
	End    float64  `json:"end"` // -1 while it goes on
	Bytes  int64    `json:"bytes"`
	Error  string   `json:"error,omitempty"`
	Failed []string `json:"failed,omitempty"` // mirrors that were given up, with the reason

	key string
}

// Message is a warning, or what the run waited for.
type Message struct {
	At   float64 `json:"at"`
	Kind string  `json:"kind"`
	Text string  `json:"text"`
}

// Counts are how many outputs ended how.
type Counts struct {
	Built     int            `json:"built"`
	Unchanged int            `json:"unchanged"`
	Reused    int            `json:"reused"`
	Preseeded int            `json:"preseeded"`
	UpToDate  int            `json:"up_to_date"`
	Failed    int            `json:"failed"`
	Skipped   int            `json:"skipped"`
	NotRun    int            `json:"not_run"`
	Verdicts  map[string]int `json:"verdicts"` // by word
}

// Saved is what the run need not do.
type Saved struct {
	Unchanged float64 `json:"unchanged"` // seconds of builds that early cutoff spared
	Published float64 `json:"published"` // of builds in the place of which images were used, as far as known
	UpToDate  float64 `json:"up_to_date"`
	Images    int     `json:"images"` // published images that were used
}
