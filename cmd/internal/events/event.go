// Package events defines what a run tells while it goes on: the lines of
// `--progress rawjson`, which docs/progress.md specifies. Terminal, rawjson, kept
// runs, report and traces all read these, and nothing asks the driver.
package events

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Kind names an event.
type Kind string

// The kinds. docs/progress.md says when each comes and which fields it has.
const (
	RunBegin Kind = "run_begin"

	FetchBegin    Kind = "fetch_begin"
	FetchStart    Kind = "fetch_start"
	FetchProgress Kind = "fetch_progress"
	FetchDone     Kind = "fetch_done"
	FetchFail     Kind = "fetch_fail"
	FetchEnd      Kind = "fetch_end"

	PreseedBegin    Kind = "preseed_begin"
	PreseedStart    Kind = "preseed_start"
	PreseedProgress Kind = "preseed_progress"
	PreseedDone     Kind = "preseed_done"
	PreseedFail     Kind = "preseed_fail"
	PreseedEnd      Kind = "preseed_end"

	PlanStep    Kind = "plan_step"
	PlanKept    Kind = "plan_kept"
	BuildBegin  Kind = "build_begin"
	BuildStart  Kind = "build_start"
	BuildStep   Kind = "build_step"
	BuildFinish Kind = "build_finish"
	BuildLeft   Kind = "build_left"
	Verdict     Kind = "verdict"
	Waiting     Kind = "waiting"
	Warning     Kind = "warning"
	Interrupted Kind = "interrupted"
	Cancelled   Kind = "cancelled"
	Lost        Kind = "lost"
	RunEnd      Kind = "run_end"
)

// Event is a line of rawjson, and all that the other modes make their words of. Its
// strings are not escaped. Counts and bytes are pointers so that 0 can be said.
type Event struct {
	Time  time.Time `json:"time"`
	Event Kind      `json:"event"`

	Run     string `json:"run,omitempty"`
	Command string `json:"command,omitempty"`
	Version string `json:"version,omitempty"`

	Source  string  `json:"source,omitempty"`
	Path    string  `json:"path,omitempty"`
	Mirror  string  `json:"mirror,omitempty"`
	How     string  `json:"how,omitempty"`
	Bytes   *int64  `json:"bytes,omitempty"`
	Size    *int64  `json:"size,omitempty"`
	Rate    *int64  `json:"rate,omitempty"`
	Left    *Length `json:"left,omitempty"`
	Sources *int    `json:"sources,omitempty"`
	Present *int    `json:"present,omitempty"`
	Fetched *int    `json:"fetched,omitempty"`
	Linked  *int    `json:"linked,omitempty"`

	Registry  string `json:"registry,omitempty"`
	Images    *int   `json:"images,omitempty"`
	Preseeded *int   `json:"preseeded,omitempty"`
	Kept      *int   `json:"kept,omitempty"`

	Engine      string   `json:"engine,omitempty"`
	Ref         string   `json:"ref,omitempty"`
	Action      string   `json:"action,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	Because     string   `json:"because,omitempty"`
	Family      string   `json:"family,omitempty"`
	Depends     []string `json:"depends,omitempty"`
	Substituted bool     `json:"substituted,omitempty"`
	Expected    *Length  `json:"expected,omitempty"`
	Guessed     bool     `json:"guessed,omitempty"`
	Last        *Length  `json:"last,omitempty"`
	Instruction string   `json:"instruction,omitempty"`
	Outcome     string   `json:"outcome,omitempty"`
	Digest      string   `json:"digest,omitempty"`
	Cause       string   `json:"cause,omitempty"`
	Log         string   `json:"log,omitempty"`
	File        string   `json:"file,omitempty"`
	Line        int      `json:"line,omitempty"`
	Tail        string   `json:"tail,omitempty"`
	Elapsed     *Length  `json:"elapsed,omitempty"`
	Error       string   `json:"error,omitempty"`

	// What a build waited for, in turn, and what its time went into.
	WaitedDepends   *Length `json:"waited_depends,omitempty"`
	WaitedDownloads *Length `json:"waited_downloads,omitempty"`
	WaitedLock      *Length `json:"waited_lock,omitempty"`
	WaitedJob       *Length `json:"waited_job,omitempty"`
	Solved          *Length `json:"solved,omitempty"`
	Committed       *Length `json:"committed,omitempty"`
	Memory          *int64  `json:"memory,omitempty"`

	Verdict   string   `json:"verdict,omitempty"`
	Word      string   `json:"word,omitempty"`
	Published string   `json:"published,omitempty"`
	Given     int      `json:"given,omitempty"`
	Against   string   `json:"against,omitempty"`
	Tainted   []string `json:"tainted,omitempty"`
	Note      string   `json:"note,omitempty"`

	Text     string `json:"text,omitempty"`
	Done     *int   `json:"done,omitempty"`
	Saved    *int   `json:"saved,omitempty"`
	Taken    *int   `json:"taken,omitempty"`
	Failed   *int   `json:"failed,omitempty"`
	Skipped  *int   `json:"skipped,omitempty"`
	Steps    *int   `json:"steps,omitempty"`
	UpToDate *int   `json:"up_to_date,omitempty"`
	Code     *int   `json:"code,omitempty"`
	Events   *int   `json:"events,omitempty"`

	// Met is, of a failed download, how many with its cause there were, this one
	// included. Alone reports that nothing is built, so that the end of the transfers is
	// the end of the command. Neither is in rawjson.
	Met   int  `json:"-"`
	Alone bool `json:"-"`
}

// Item returns the name for users of the source or image that a transfer moves.
func (e Event) Item() string { return cmp.Or(e.Source, e.Ref) }

// Place returns the mirror or registry of a transfer.
func (e Event) Place() string { return cmp.Or(e.Mirror, e.Registry) }

// Key returns what a transfer is found by.
func (e Event) Key() string { return cmp.Or(e.Path, e.Ref) }

// As returns e as an event of that kind.
func (e Event) As(k Kind) Event {
	e.Event = k
	return e
}

// Length is a time.Duration, in JSON seconds to the millisecond.
type Length time.Duration

var (
	_ json.Marshaler   = Length(0)
	_ json.Unmarshaler = (*Length)(nil)
)

// MarshalJSON writes a number.
func (l Length) MarshalJSON() ([]byte, error) {
	ms := time.Duration(l).Round(time.Millisecond).Milliseconds()
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', -1, 64), nil
}

// maxSeconds is the longest Length that is read: a century.
const maxSeconds = 100 * 365 * 24 * 60 * 60

// UnmarshalJSON reads a number of seconds, at most a century either way.
func (l *Length) UnmarshalJSON(data []byte) error {
	seconds, err := strconv.ParseFloat(string(data), 64)
	if err != nil || seconds > maxSeconds || seconds < -maxSeconds || seconds != seconds {
		return fmt.Errorf("want a number of seconds, not %.40q", data)
	}
	*l = Length(seconds * float64(time.Second))
	return nil
}
