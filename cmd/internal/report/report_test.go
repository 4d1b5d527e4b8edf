package report_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/reporttest"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// at is an event so many seconds into a run.
func at(seconds float64, e events.Event) events.Event {
	e.Time = reporttest.Began.Add(time.Duration(seconds * float64(time.Second)))
	return e
}

func length(seconds float64) *events.Length {
	return new(events.Length(seconds * float64(time.Second)))
}

func output(t *testing.T, r *report.Run, ref string) *report.Output {
	t.Helper()
	for _, o := range r.Outputs {
		if o.Ref == ref {
			return o
		}
	}
	t.Fatalf("there is no %s", ref)
	return nil
}

// a and b build at once, c needs both and waits for a; d kept its digest, e was preseeded.
var small = []events.Event{
	at(0, events.Event{Event: events.RunBegin, Command: "sx build c"}),
	at(1, events.Event{Event: events.BuildBegin, Engine: "embedded"}),
	at(1, events.Event{Event: events.PlanStep, Ref: "core-a", Action: "build", Reason: "not built yet"}),
	at(1, events.Event{Event: events.PlanStep, Ref: "core-b", Action: "build", Reason: "not built yet"}),
	at(1, events.Event{Event: events.PlanStep, Ref: "core-c", Action: "build", Reason: "x", Depends: []string{"core-a", "core-b", "core-z", "core-a"}}),
	at(1, events.Event{Event: events.PlanStep, Ref: "core-d", Action: "build", Because: "core-c", Expected: length(90), Depends: []string{"core-c"}}),
	at(1, events.Event{Event: events.PlanKept, Ref: "core-e", Substituted: true, Last: length(30)}),
	at(1, events.Event{Event: events.PlanKept, Ref: "core-f", Last: length(7)}),
	at(2, events.Event{Event: events.BuildStart, Ref: "core-a"}),
	at(2, events.Event{Event: events.BuildStart, Ref: "core-b"}),
	at(4, events.Event{Event: events.BuildFinish, Ref: "core-b", Outcome: "built"}),
	at(10, events.Event{Event: events.BuildFinish, Ref: "core-a", Outcome: "built", Memory: new(int64(5))}),
	at(11, events.Event{Event: events.BuildStart, Ref: "core-c", WaitedDepends: length(9), WaitedJob: length(1)}),
	at(20, events.Event{Event: events.BuildFinish, Ref: "core-c", Outcome: "built", Digest: "sha256:c", Solved: length(6), Committed: length(2)}),
	at(20, events.Event{Event: events.BuildFinish, Ref: "core-d", Outcome: "saved"}),
	at(21, events.Event{Event: events.Verdict, Ref: "core-c", Word: "MISMATCH", Verdict: "MISMATCH", Digest: "sha256:c", Published: "sha256:d", Note: "why"}),
	at(21, events.Event{Event: events.RunEnd, Code: new(3)}),
}

func TestModel(t *testing.T) {
	r := report.Of(&runs.Run{ID: "20261129T220000.000Z-abcdef", State: runs.Ended, Events: small}, time.Now())
	if r.Length != 21 || *r.Code != 3 || r.Command != "sx build c" {
		t.Errorf("%+v", r)
	}
	var critical []string
	for _, i := range r.Critical {
		critical = append(critical, r.Outputs[i].Ref)
	}
	if got := strings.Join(critical, " "); got != "core-a core-c" {
		t.Errorf("the critical path is %s", got)
	}
	a, b, c := output(t, r, "core-a"), output(t, r, "core-b"), output(t, r, "core-c")
	if a.Lane == b.Lane || c.Lane < 0 || c.Start != 11 || c.End != 20 || c.Waited[3] != 1 || len(c.Depends) != 2 || c.Outside != 1 {
		t.Errorf("lanes %d and %d; %+v", a.Lane, b.Lane, c)
	}
	if c.Word != "MISMATCH" || c.Published != "sha256:d" || c.Note != "why" || a.Memory != 5 {
		t.Errorf("%+v", c)
	}
	if got := r.Counts.String(); got != "3 built, 1 up to date, 1 unchanged; 1 MISMATCH" {
		t.Errorf("the counts are %s", got)
	}
	if want := (report.Saved{Unchanged: 90, Published: 30, UpToDate: 7, Images: 1}); r.Saved != want {
		t.Errorf("saved %+v, want %+v", r.Saved, want)
	}
	if got := report.Summarize(r); got.Ending() != "exit 3" || got.Seconds != 21 {
		t.Errorf("%+v", got)
	}
}

// TestEngines: in a run of several engines each has rows of its own.
func TestEngines(t *testing.T) {
	events := slices.Clone(small)
	for i := range events {
		if events[i].Event == small[8].Event { // of a start
			events[i].Engine = map[string]string{"core-a": "west", "core-b": "east", "core-c": "west"}[events[i].Ref]
		}
	}
	r := report.Of(&runs.Run{State: runs.Ended, Events: events}, time.Now())
	want := []report.EngineLanes{{Name: "east", First: 0, Lanes: 1}, {Name: "west", First: 1, Lanes: 1}}
	if !slices.Equal(r.Engines, want) {
		t.Errorf("the engines are %v, want %v", r.Engines, want)
	}
	for ref, lane := range map[string]int{"core-a": 1, "core-b": 0, "core-c": 1} {
		if got := output(t, r, ref).Lane; got != lane {
			t.Errorf("%s is in row %d, not %d", ref, got, lane)
		}
	}
	if one := report.Of(&runs.Run{State: runs.Ended, Events: small}, time.Now()); one.Engines != nil {
		t.Errorf("one engine is %v", one.Engines)
	}
}

// Of a run that was killed, what ran is interrupted and the rest not run.
func TestInterrupted(t *testing.T) {
	r := report.Of(&runs.Run{State: runs.Interrupted, Events: small[:13]}, time.Now())
	if got := output(t, r, "core-c").State + ", " + output(t, r, "core-d").State; got != "interrupted, not run" {
		t.Error(got)
	}
}

func TestHistory(t *testing.T) {
	old := report.Of(&runs.Run{ID: "old", State: runs.Ended, Events: small}, time.Now())
	r := report.Of(&runs.Run{ID: "new", State: runs.Ended, Events: small}, time.Now())
	var many []*report.Run
	for range 30 {
		many = append(many, old)
	}
	r.AddHistory(many)
	if h := output(t, r, "core-a").History; len(h) != 10 || h[0] != (report.Past{Run: "old", Seconds: 8}) {
		t.Errorf("%v", h)
	}
}

// Events in any order, with any numbers, make a page of bounded size.
func TestAnyEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		stream := reporttest.Stream(reporttest.Options{Outputs: 20, Failing: 4, Differing: 2})
		random.Shuffle(len(stream.Events), func(i, j int) { stream.Events[i], stream.Events[j] = stream.Events[j], stream.Events[i] })
		for i := range stream.Events {
			if e := &stream.Events[i]; random.IntN(5) == 0 {
				e.Elapsed, e.Memory, e.Size, e.Line, e.Time = length(-1e6), new(int64(-1)), new(int64(1)<<62), -5, e.Time.Add(-1000*time.Hour)
				e.Depends, e.Error = append(e.Depends, e.Ref, "", "core-none"), strings.Repeat("é", 100_000)
			}
		}
		r := report.Of(stream, time.Now())
		r.AddHistory([]*report.Run{r})
		var doc bytes.Buffer
		if err := report.WritePage(&doc, r); err != nil || doc.Len() > 1_500_000 {
			t.Fatalf("%d bytes, %v", doc.Len(), err)
		}
	}
}
