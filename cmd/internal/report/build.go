package report

import (
	"cmp"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// Bounds of a page.
const (
	maxSteps    = 6   // instructions that are kept of an output, the last ones
	maxStepText = 160 // bytes of one
	maxMessages = 200
	maxFailed   = 8       // mirrors of a download
	maxText     = 4 << 10 // bytes of an error or a reason
)

// Of returns the model of a run. Now ends what a running run still does.
func Of(kept *runs.Run, now time.Time) *Run {
	r := &Run{
		ID: kept.ID, State: kept.State, Damaged: kept.Damaged, Began: runs.Began(kept.ID), Outputs: []*Output{}, Downloads: []*Download{},
		Messages: []Message{}, Critical: []int{}, Counts: Counts{Verdicts: map[string]int{}}, index: map[string]int{}, active: map[string]*Download{},
	}
	if len(kept.Events) > 0 {
		r.Began = kept.Events[0].Time
	}
	depends := map[string][]string{}
	for _, e := range kept.Events {
		r.Length = max(r.Length, r.at(e.Time))
		r.take(e)
		if e.Event == events.PlanStep || e.Event == events.PlanKept {
			depends[e.Ref] = e.Depends
		}
	}
	if r.State == runs.Running {
		r.Length = max(r.Length, r.at(now))
	}
	r.link(depends)
	r.finish()
	return r
}

// at returns a time as seconds since the run began, to the millisecond.
func (r *Run) at(t time.Time) float64 { return float64(t.Sub(r.Began).Milliseconds()) / 1000 }

func seconds(l *events.Length) float64 {
	if l == nil {
		return 0
	}
	return float64(time.Duration(*l).Milliseconds()) / 1000
}

func number[T int | int64](n *T) T {
	if n == nil {
		return 0
	}
	return *n
}

func (r *Run) take(e events.Event) {
	switch e.Event {
	case events.RunBegin:
		r.Command, r.Version = cut(e.Command), e.Version
	case events.BuildBegin:
		r.Engine = e.Engine
	case events.PlanStep, events.PlanKept:
		r.plan(e)
	case events.BuildStart, events.BuildStep, events.BuildFinish, events.Verdict:
		r.takeOutput(e)
	case events.FetchStart, events.PreseedStart, events.FetchProgress, events.PreseedProgress, events.FetchDone, events.PreseedDone, events.FetchFail, events.PreseedFail:
		r.takeDownload(e)
	case events.Warning, events.Waiting, events.Interrupted, events.Cancelled:
		if len(r.Messages) < maxMessages {
			r.Messages = append(r.Messages, Message{r.at(e.Time), string(e.Event), cut(e.Text)})
		}
	case events.BuildLeft:
		r.Left = seconds(e.Left)
	case events.Lost:
		r.Lost += number(e.Events)
	case events.RunEnd:
		r.Code, r.Error, r.Left = e.Code, cut(e.Error), 0
	}
}

// output returns the output of a name, which it makes if the plan lacks it.
func (r *Run) output(ref string) *Output {
	i, ok := r.index[ref]
	if !ok {
		i = len(r.Outputs)
		r.index[ref] = i
		stage, _, _ := strings.Cut(ref, "-")
		r.Outputs = append(r.Outputs, &Output{Ref: ref, Stage: stage, State: Waiting, Start: -1, End: -1, Lane: -1})
	}
	return r.Outputs[i]
}

func (r *Run) plan(e events.Event) {
	o := r.output(e.Ref)
	o.Action, o.Reason, o.Because, o.Family = e.Action, cut(e.Reason), e.Because, e.Family
	o.Expected, o.Guessed, o.Memory, o.Last = seconds(e.Expected), e.Guessed, number(e.Memory), seconds(e.Last)
	switch {
	case e.Event == events.PlanStep:
	case e.Substituted:
		o.State = "published"
		r.Saved.Images++
		r.Saved.Published += o.Last
	default:
		o.State = Current
		r.Counts.UpToDate++
		r.Saved.UpToDate += o.Last
	}
}

func (r *Run) takeOutput(e events.Event) {
	o := r.output(e.Ref)
	switch e.Event {
	case events.BuildStart:
		o.State, o.Start, o.Engine = Building, r.at(e.Time), cmp.Or(e.Engine, r.Engine)
		o.Reason, o.Because = cut(e.Reason), e.Because
		o.Waited = [4]float64{seconds(e.WaitedDepends), seconds(e.WaitedDownloads), seconds(e.WaitedLock), seconds(e.WaitedJob)}
	case events.BuildStep:
		if len(o.Steps) == maxSteps {
			o.Steps = o.Steps[1:]
		}
		o.Steps = append(o.Steps, Step{r.at(e.Time), shorten(e.Instruction, maxStepText)})
	case events.BuildFinish:
		r.ended(o, e)
	case events.Verdict:
		o.Verdict, o.Word, o.Note, o.Given, o.Tainted = cut(e.Verdict), e.Word, cut(e.Note), e.Given, e.Tainted
		o.Published = e.Published
		if e.Digest != "" {
			o.Digest = e.Digest
		}
		r.Counts.Verdicts[e.Word]++
	}
}

// ended takes how the build of o ended.
func (r *Run) ended(o *Output, e events.Event) {
	o.State, o.End, o.Digest = e.Outcome, r.at(e.Time), e.Digest
	if o.Start < 0 && e.Outcome == "failed" || e.Outcome == "preseeded" {
		o.Start = max(0, o.End-seconds(e.Elapsed))
	}
	o.Error, o.Cause, o.Log = cut(e.Error), e.Cause, e.Log
	o.File, o.Line, o.Tail = e.File, e.Line, shorten(e.Tail, 2*maxText)
	o.Solved, o.Commit, o.Size = seconds(e.Solved), seconds(e.Committed), number(e.Size)
	if e.Memory != nil {
		o.Memory = *e.Memory
	}
	c := &r.Counts
	switch e.Outcome {
	case "built":
		c.Built++
	case "saved":
		o.State = "unchanged"
		c.Unchanged++
		r.Saved.Unchanged += max(o.Expected, o.Last)
	case "taken":
		o.State = "reused"
		c.Reused++
	case "preseeded":
		c.Preseeded++
		r.Saved.Images++
		r.Saved.Published += o.Last
	case "failed":
		c.Failed++
	case "skipped":
		c.Skipped++
	default:
		c.NotRun++
	}
}

func (r *Run) takeDownload(e events.Event) {
	key := e.Key()
	d := r.active[key]
	if d == nil {
		d = &Download{Name: e.Item(), Start: r.at(e.Time), End: -1, key: key}
		r.active[key] = d
		r.Downloads = append(r.Downloads, d)
	}
	d.Bytes = max(d.Bytes, number(e.Bytes))
	switch e.Event {
	case events.FetchStart, events.PreseedStart:
		d.Place = shorten(e.Place(), maxStepText)
	case events.FetchDone, events.PreseedDone:
		d.How, d.End = e.How, r.at(e.Time)
		delete(r.active, key)
	case events.FetchFail, events.PreseedFail:
		if e.Place() == "" {
			d.Error, d.End = cut(e.Error), r.at(e.Time)
			delete(r.active, key)
		} else if len(d.Failed) < maxFailed {
			d.Failed = append(d.Failed, shorten(e.Place()+": "+e.Error, maxStepText))
		}
	}
}

func cut(s string) string { return shorten(s, maxText) }

// shorten cuts s to so many bytes, at the end of a character.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && s[limit]&0xc0 == 0x80 {
		limit--
	}
	return s[:limit] + "…"
}
