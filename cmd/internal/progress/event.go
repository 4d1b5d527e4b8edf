package progress

import (
	"encoding/json"
	"strconv"
	"time"
)

// kind names an event.
type kind string

const (
	fetchBegin    kind = "fetch_begin"
	fetchStart    kind = "fetch_start"
	fetchProgress kind = "fetch_progress"
	fetchDone     kind = "fetch_done"
	fetchFail     kind = "fetch_fail"
	fetchEnd      kind = "fetch_end"

	preseedBegin    kind = "preseed_begin"
	preseedStart    kind = "preseed_start"
	preseedProgress kind = "preseed_progress"
	preseedDone     kind = "preseed_done"
	preseedFail     kind = "preseed_fail"
	preseedEnd      kind = "preseed_end"

	planStep    kind = "plan_step"
	buildBegin  kind = "build_begin"
	buildStart  kind = "build_start"
	buildStep   kind = "build_step"
	buildFinish kind = "build_finish"
	buildLeft   kind = "build_left"
	waiting     kind = "waiting"
	warning     kind = "warning"
	interrupted kind = "interrupted"
	cancelled   kind = "cancelled"
	lost        kind = "lost"
	runEnd      kind = "run_end"
)

// event is a line of rawjson, and all that the other modes make their words of.
// Its strings are not escaped. docs/progress.md says which kind has which
// fields; counts and bytes are pointers so that 0 can be said.
type event struct {
	Time  time.Time `json:"time"`
	Event kind      `json:"event"`

	Source  string  `json:"source,omitempty"`
	Path    string  `json:"path,omitempty"`
	Mirror  string  `json:"mirror,omitempty"`
	How     string  `json:"how,omitempty"`
	Bytes   *int64  `json:"bytes,omitempty"`
	Size    *int64  `json:"size,omitempty"`
	Rate    *int64  `json:"rate,omitempty"`
	Left    *length `json:"left,omitempty"`
	Sources *int    `json:"sources,omitempty"`
	Present *int    `json:"present,omitempty"`
	Fetched *int    `json:"fetched,omitempty"`
	Linked  *int    `json:"linked,omitempty"`

	Registry  string `json:"registry,omitempty"`
	Images    *int   `json:"images,omitempty"`
	Preseeded *int   `json:"preseeded,omitempty"`
	Kept      *int   `json:"kept,omitempty"`

	Engine      string  `json:"engine,omitempty"`
	Ref         string  `json:"ref,omitempty"`
	Action      string  `json:"action,omitempty"`
	Reason      string  `json:"reason,omitempty"`
	Because     string  `json:"because,omitempty"`
	Family      string  `json:"family,omitempty"`
	Expected    *length `json:"expected,omitempty"`
	Guessed     bool    `json:"guessed,omitempty"`
	Instruction string  `json:"instruction,omitempty"`
	Outcome     string  `json:"outcome,omitempty"`
	Digest      string  `json:"digest,omitempty"`
	Cause       string  `json:"cause,omitempty"`
	Log         string  `json:"log,omitempty"`
	Elapsed     *length `json:"elapsed,omitempty"`
	Error       string  `json:"error,omitempty"`

	met      int    // of a failure: how many of its cause there were, this one included
	alone    bool   // nothing is built: the end of the transfers is the end of the command
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
}

// length is a time.Duration, in JSON seconds to the millisecond.
type length time.Duration

var _ json.Marshaler = length(0)

// MarshalJSON writes a number.
func (l length) MarshalJSON() ([]byte, error) {
	ms := time.Duration(l).Round(time.Millisecond).Milliseconds()
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', -1, 64), nil
}

// known returns nil for an unknown size.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}
