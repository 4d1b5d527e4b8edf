package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// ending says how a run ended, and what to print of it.
type ending struct {
	panel       *panel.Panel
	talk        bool // messages are printed beside the verdicts
	interrupted bool // a Ctrl-C ended the run early
}

// summarize prints the verdicts of what was built, of the targets, and of all in
// their closure that is MISMATCH, then the table of what went wrong, and joins it
// all into one error.
func summarize(a *app, t *tree.Tree, report *driver.Report, end ending, err error) error {
	vs, jerr := judgeRun(a.stdout, t, end.panel, report)
	all := []error{err, jerr}
	if jerr == nil || vs != nil {
		if printCounts(a.stdout, vs)[verdict.Mismatch] > 0 {
			all = append(all, codeError(exitMismatch))
		}
		all = append(all, printTable(a.stderr, report, vs, err))
		if end.talk {
			fmt.Fprintln(a.stderr, "sx: "+runCounts(report))
		}
	}
	if end.interrupted && report.Count(plan.NotRun) > 0 {
		all = append(all, codeError(exitInterrupt))
	}
	return errors.Join(all...)
}

// judgeRun prints a verdict a line. Those that cannot be written are returned
// with the error: the table goes elsewhere.
func judgeRun(w io.Writer, t *tree.Tree, p *panel.Panel, report *driver.Report) (vs []verdict.Verdict, err error) {
	told := reportedRefs(report)
	refs := slices.DeleteFunc(t.Graph.Closure(report.Plan.Targets), func(ref graph.Ref) bool { return told[ref] == lost })
	all := p.All(refs)
	lines := bufio.NewWriterSize(w, 1<<16)
	vs = all[:0]
	for _, v := range all {
		if told[v.Ref] == shown || v.Word == verdict.Mismatch {
			vs = append(vs, v)
			printVerdict(lines, v)
		}
	}
	return vs, lines.Flush()
}

// runCounts is the last line of a run.
func runCounts(report *driver.Report) string {
	said := fmt.Sprintf("%d built, %d up to date, %d unchanged, %d failed, %d skipped, %d not run",
		report.Count(plan.Built), report.Plan.Count(plan.ActionNone), report.Count(plan.Saved),
		report.Count(plan.Failed), report.Count(plan.Skipped), report.Count(plan.NotRun))
	if n := report.Count(plan.Preseeded); n > 0 {
		said += fmt.Sprintf(", %d preseeded", n)
	}
	if n := report.Count(plan.Taken); n > 0 {
		said += fmt.Sprintf(", %d reused from another sx", n)
	}
	return said
}

// telling is what a run's end says of an output.
type telling int

const (
	quiet telling = iota // only when it is MISMATCH
	shown                // its verdict
	lost                 // nothing: it could not be brought up to date
)

// reportedRefs sorts the outputs of a run: verdicts are due for what was built and for
// the targets.
func reportedRefs(report *driver.Report) map[graph.Ref]telling {
	told := make(map[graph.Ref]telling, len(report.Plan.Targets))
	for _, ref := range report.Plan.Targets {
		told[ref] = shown
	}
	for _, r := range report.Results {
		switch r.Outcome {
		case plan.Built, plan.Taken:
			told[r.Ref] = shown
		case plan.Saved, plan.Preseeded:
		default:
			told[r.Ref] = lost
		}
	}
	return told
}

// tableLogLines is how much of a failed build's log its row shows.
const tableLogLines = 8

// tableLineBytes bounds each of these lines.
const tableLineBytes = 1 << 10

// printTable writes what somebody who comes back in the morning looks for: what
// failed and why, what was skipped for its sake, what differs from the published
// digest. Ending is what ended the run early, and is printed after it. The error is
// the exit code that the failures stand for, nil if nothing failed.
func printTable(w io.Writer, report *driver.Report, vs []verdict.Verdict, ending error) error {
	var codes []int
	var sources fetch.Error
	var images preseed.Error
	var common sameFailures
	told := map[*fetch.Error]bool{}
	for _, r := range report.Results {
		if r.Outcome != plan.Failed {
			continue
		}
		codes = append(codes, exitCode(fullDisk(r.Err)))
		if ending != nil && errors.Is(ending, r.Err) {
			fmt.Fprintf(w, "sx: failed   %s: see below\n", r.Ref)
			continue
		}
		if !common.more(r) {
			printFailure(w, r)
		}
		if image := (*preseed.Error)(nil); errors.As(r.Err, &image) {
			images.Failures = append(images.Failures, image.Failures...)
		}
		var one *fetch.Error
		if errors.As(r.Err, &one) && !told[one] { // a family shares its sources
			told[one] = true
			sources.Failures = append(sources.Failures, one.Failures...)
		}
	}
	common.print(w)
	printRegistries(w, &images)
	printMirrors(w, &sources)
	printSkipped(w, report)
	for _, v := range vs {
		if v.Word == verdict.Mismatch || v.Word == verdict.Changed {
			fmt.Fprintf(w, "sx: differs  %s: %s, published %s, built %s\n", v.Ref, v.Word, short(v.Want.String()), short(v.Got.String()))
		}
	}
	if codes == nil {
		return nil
	}
	return codeError(worst(codes...))
}

// sameFailures are the failures of a run that have a cause in common.
type sameFailures map[string][]string

// more reports that enough others failed for r's cause and were told. A build has its
// own log, and is always told.
func (s *sameFailures) more(r driver.Result) bool {
	if r.Log != "" {
		return false
	}
	if *s == nil {
		*s = sameFailures{}
	}
	key := transfer.Cause(r.Err)
	(*s)[key] = append((*s)[key], r.Ref.String())
	return len((*s)[key]) > sameCause
}

// print writes a row for those that more held back of each cause.
func (s sameFailures) print(w io.Writer) {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if rest := s[key][min(len(s[key]), sameCause):]; len(rest) > 0 {
			fmt.Fprintf(w, "sx: failed   %d more for the same cause (%s): %s\n", len(rest), text.Field(key), some(rest))
		}
	}
}

func printFailure(w io.Writer, r driver.Result) {
	fmt.Fprintf(w, "sx: failed   %s: %s\n", r.Ref, text.Field(r.Err.Error()))
	if r.Log == "" {
		return
	}
	tail, err := progress.LogTail(r.Log, tableLogLines)
	if err != nil {
		tail = []string{err.Error()}
	}
	for _, line := range tail {
		fmt.Fprintf(w, "             | %s\n", text.Shorten(text.Lines(line), tableLineBytes))
	}
	fmt.Fprintf(w, "             log: %s\n", r.Log)
}

// skippedNames bounds the names in a row: hundreds may wait for one failure.
const skippedNames = 8

// printSkipped writes a row for each failure that others wait for.
func printSkipped(w io.Writer, report *driver.Report) {
	var causes []graph.Ref
	waiting := map[graph.Ref][]string{}
	for _, r := range report.Results {
		if r.Outcome != plan.Skipped {
			continue
		}
		if waiting[r.Cause] == nil {
			causes = append(causes, r.Cause)
		}
		waiting[r.Cause] = append(waiting[r.Cause], r.Ref.String())
	}
	slices.SortFunc(causes, graph.Ref.Compare)
	for _, cause := range causes {
		names := waiting[cause]
		need := "need"
		if len(names) == 1 {
			need = "needs"
		}
		fmt.Fprintf(w, "sx: skipped  %s that %s %s: %s\n", count(len(names), "output"), need, cause, some(names))
	}
}

// short abbreviates a digest as git and docker do.
func short(digest string) string {
	return digest[:min(len(digest), len("sha256:")+12)] + "…"
}
