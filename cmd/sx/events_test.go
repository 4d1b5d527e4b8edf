package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// event is what a reader of rawjson needs to follow a run (docs/progress.md).
type event struct {
	Time                                      time.Time
	Event, Ref, Outcome, How, Path            string
	Code, Steps, Done, Saved, Failed, Skipped int
}

// checkEvents is events FILE SUMMARY decodes the events of one run, of which FILE must have every
// one, in order, to the last. Of each output and source that ended, and of the run,
// it writes a line to SUMMARY.
func checkEvents(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "events FILE SUMMARY")
	f := follower{running: map[string]bool{}}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if !strings.HasPrefix(line, "{") {
			continue // for people
		}
		dec := json.NewDecoder(strings.NewReader(line))
		var e event
		if err := dec.Decode(&e); err != nil {
			ts.Fatalf("%q: %v", line, err)
		}
		if _, err := dec.Token(); err != io.EOF {
			ts.Fatalf("more than an object: %q", line)
		}
		if wrong := f.follow(e); wrong != "" {
			ts.Fatalf("%s: %s", wrong, line)
		}
	}
	if f.last.Event != "run_end" || len(f.running) > 0 {
		ts.Fatalf("the last event is %q, and %v run", f.last.Event, f.running)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(f.summary), 0o644))
}

type follower struct {
	last     event
	finished event // the last build_finish
	begun    bool
	running  map[string]bool
	summary  string
}

// follow says what is wrong with the next event.
func (f *follower) follow(e event) (wrong string) {
	last, was := f.last, f.finished
	f.last = e
	switch {
	case e.Event == "" || e.Time.IsZero():
		return "no event or no time"
	case last.Event == "run_end":
		return "it comes after the end"
	case e.Time.Before(last.Time):
		return "it comes before the one before it"
	}
	switch e.Event {
	case "build_begin":
		f.begun = true
	case "build_start":
		if !f.begun || f.running[e.Ref] {
			return "it starts before the plan, or twice"
		}
		f.running[e.Ref] = true
	case "build_finish":
		if e.Done < was.Done || e.Saved < was.Saved || e.Failed < was.Failed || e.Skipped < was.Skipped {
			return "a count went back"
		}
		delete(f.running, e.Ref)
		f.finished = e
		f.summary += fmt.Sprintln(e.Ref, e.Outcome)
	case "fetch_done":
		f.summary += fmt.Sprintln(e.How, e.Path)
	case "run_end":
		if e.Done < was.Done || e.Failed < was.Failed {
			return "a count went back"
		}
		f.summary += fmt.Sprintf("end code=%d steps=%d done=%d failed=%d skipped=%d\n", e.Code, e.Steps, e.Done, e.Failed, e.Skipped)
	}
	return ""
}
