package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// Summary is a run in a line, as `sx history --json` prints it.
type Summary struct {
	ID        string     `json:"id"`
	Began     time.Time  `json:"began"`
	Seconds   float64    `json:"seconds"` // until its last event
	State     runs.State `json:"state"`
	Code      *int       `json:"code,omitempty"` // the exit code, if it ended
	Command   string     `json:"command"`
	Counts    Counts     `json:"counts"`
	Downloads int        `json:"downloads"`         // that ended well
	Damaged   int        `json:"damaged,omitempty"` // lines that could not be read
}

// Summarize returns a run in a line.
func Summarize(r *Run) Summary {
	s := Summary{ID: r.ID, Began: r.Began, Seconds: r.Length, State: r.State, Code: r.Code, Command: r.Command, Counts: r.Counts, Damaged: r.Damaged}
	for _, d := range r.Downloads {
		if d.End >= 0 && d.Error == "" {
			s.Downloads++
		}
	}
	return s
}

// Ending says how the run ended: "done", "exit 3", "running" or "interrupted".
func (s Summary) Ending() string {
	switch {
	case s.State != runs.Ended:
		return string(s.State)
	case s.Code == nil || *s.Code == 0:
		return "done"
	}
	return fmt.Sprintf("exit %d", *s.Code)
}

// String returns the counts that are not 0: "3 built, 1 failed; 2 MATCH, 1 MISMATCH".
func (c Counts) String() string {
	var parts, words []string
	for _, p := range []struct {
		n    int
		word string
	}{
		{c.Built, "built"}, {c.UpToDate, "up to date"}, {c.Unchanged, "unchanged"}, {c.Reused, "reused"}, {c.Preseeded, "preseeded"},
		{c.Failed, "failed"}, {c.Skipped, "skipped"}, {c.NotRun, "not run"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	for _, word := range slices.Sorted(maps.Keys(c.Verdicts)) {
		words = append(words, fmt.Sprintf("%d %s", c.Verdicts[word], word))
	}
	said := strings.Join(parts, ", ")
	if said == "" {
		said = "nothing built"
	}
	if len(words) > 0 {
		said += "; " + strings.Join(words, ", ")
	}
	return said
}
