package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report"
)

// ToFile returns an observer that writes a Chrome trace of the run into a file when it
// ends, with the spans of the engine, if any. Failed is called if it cannot.
func ToFile(id, path string, engine *Engine, failed func(error)) func(events.Event) {
	return collect(id, func(r *report.Run) {
		var doc bytes.Buffer
		err := WriteChrome(&doc, r, engine.scopes(failed))
		if err == nil {
			err = disk.WriteNamed(path, doc.Bytes(), 0o644)
		}
		if err != nil {
			failed(fmt.Errorf("writing the trace: %w", err))
		}
	})
}

// chromeEvent is an event of the Trace Event Format: times in microseconds.
type chromeEvent struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	Time  int64          `json:"ts"`
	Dur   *int64         `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// end returns when a complete event ends.
func (e chromeEvent) end() int64 { return e.Time + *e.Dur }

// Rows of the trace: processes, as the format calls them.
const (
	runRow = iota + 1
	outputRow
	downloadRow
)

// WriteChrome writes a run in the Trace Event Format, as chrome://tracing and Perfetto
// read it: complete events. What the engine did for an output lies below it in its row,
// and what it did at the same time in rows after it, at most rowsEach in all.
//
// Source: docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
func WriteChrome(w io.Writer, r *report.Run, engine []*otlp.ScopeSpans) error {
	all := []chromeEvent{
		named("process_name", runRow, 0, "run"), named("process_name", outputRow, 0, "outputs"), named("process_name", downloadRow, 0, "downloads"),
		lasting(0, r.Length, chromeEvent{Name: "sx", Cat: "run", PID: runRow, Args: map[string]any{
			"run": r.ID, "command": r.Command, "version": r.Version, "engine": r.Engine, "began": r.Began,
		}}),
	}
	engines, fetched := below(r, engine), downloadsOf(r)
	for i, o := range r.Outputs {
		if o.Start >= 0 {
			all = append(all, chromeOutput(r, o, fetched.of(o), engines[i])...)
		}
	}
	for i, d := range lanes(r) {
		for _, d := range d {
			all = append(all, lasting(d.Start, downloaded(r, d), chromeEvent{
				Name: d.Name, Cat: d.How, PID: downloadRow, TID: i, Args: map[string]any{"bytes": d.Bytes, "from": d.Place, "error": d.Error},
			}))
		}
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": all, "displayTimeUnit": "ms"})
}

// rowsEach is how many rows of the trace a row of the timeline may have: one for outputs,
// the others for what engines do at the same time.
const rowsEach = 100

// chromeOutput returns the events of an output that ran.
func chromeOutput(r *report.Run, o *report.Output, fetched []*report.Download, engine []*otlp.Span) []chromeEvent {
	row := o.Lane * rowsEach
	all := []chromeEvent{lasting(o.Start, ended(r, o), chromeEvent{Name: o.Ref, Cat: o.State, PID: outputRow, TID: row, Args: attributes(o)})}
	for _, p := range phases(r, o, fetched) {
		if p.from >= o.Start { // what it waited for would lie over the output that ran before
			all = append(all, lasting(p.from, p.to, chromeEvent{Name: p.name, Cat: "phase", PID: outputRow, TID: row}))
		}
	}
	return append(all, stack(r, all, engine)...)
}

func micro(s float64) int64 { return int64(s*1e6 + 0.5) }

// lasting makes a complete event of e, from and to seconds after the run began.
func lasting(from, to float64, e chromeEvent) chromeEvent {
	d := micro(to) - micro(from)
	e.Phase, e.Time, e.Dur = "X", micro(from), &d
	return e
}

func named(what string, pid, tid int, name string) chromeEvent {
	return chromeEvent{Name: what, Phase: "M", PID: pid, TID: tid, Args: map[string]any{"name": name}}
}

func downloaded(r *report.Run, d *report.Download) float64 {
	if d.End >= 0 {
		return d.End
	}
	return r.Length
}

// lanes puts downloads into rows in which none overlaps another.
func lanes(r *report.Run) (rows [][]*report.Download) {
next:
	for _, d := range r.Downloads {
		for i, row := range rows[:min(len(rows), 64)] {
			if downloaded(r, row[len(row)-1]) <= d.Start {
				rows[i] = append(row, d)
				continue next
			}
		}
		rows = append(rows, []*report.Download{d})
	}
	return rows
}

// attributes are what a span says of an output.
func attributes(o *report.Output) map[string]any {
	all := map[string]any{}
	for name, value := range map[string]string{
		"outcome": o.State, "reason": o.Reason, "because": o.Because, "engine": o.Engine, "digest": o.Digest, "published": o.Published,
		"verdict": o.Verdict, "error": o.Error, "cause": o.Cause, "file": o.File, "family": o.Family,
	} {
		if value != "" {
			all[name] = value
		}
	}
	for name, value := range map[string]int64{"line": int64(o.Line), "memory": o.Memory, "size": o.Size} {
		if value > 0 {
			all[name] = value
		}
	}
	return all
}
