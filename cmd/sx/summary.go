package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"codeberg.org/stagex/sx/cmd/internal/ci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// ending says how a run ended, and what to print of it.
type ending struct {
	panel       *panel.Panel
	display     *progress.Display
	interrupted bool // a Ctrl-C ended the run early
	ci          ciOptions
}

// summarize prints the verdicts on what was built, on the targets and on every MISMATCH
// in their closure, then the table of failures. It returns err joined with the exit
// codes of what it printed.
func summarize(a *app, report *driver.Report, end ending, err error) error {
	vs, jerr := judgeRun(a.stdout, end.panel, report)
	all := []error{err, jerr}
	if jerr == nil || vs != nil {
		if printCounts(a.stdout, vs)[verdict.Mismatch] > 0 {
			all = append(all, codeError(exitMismatch))
		}
		all = append(all, printTable(a.stderr, report, vs, err), tellCI(a, end.ci, report.View.Dir, func() ci.Report { return ciOfRun(report, vs) }))
		end.display.Judged(vs)
		if end.display.Talks() {
			fmt.Fprintln(a.stderr, "sx: "+runCounts(report))
		}
	}
	if end.interrupted && report.Count(plan.NotRun) > 0 {
		all = append(all, codeError(exitInterrupt))
	}
	return errors.Join(all...)
}

// judgeRun prints one verdict per line. If that fails it still returns the verdicts, for
// the table on stderr.
func judgeRun(w io.Writer, p *panel.Panel, report *driver.Report) (vs []verdict.Verdict, err error) {
	told := reportedRefs(report)
	refs := slices.DeleteFunc(report.View.Graph.Closure(report.Plan.Targets), func(ref graph.Ref) bool { return told[ref] == lost })
	all := p.All(report.View, refs)
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

// runCounts returns the last line of a run.
func runCounts(report *driver.Report) string {
	said := fmt.Sprintf("%d built, %d up to date, %d unchanged, %d failed, %d skipped, %d not run",
		report.Count(plan.Built), report.Plan.Count(plan.ActionNone), report.Count(plan.Unchanged),
		report.Count(plan.Failed), report.Count(plan.Skipped), report.Count(plan.NotRun))
	if n := report.Count(plan.Preseeded); n > 0 {
		said += fmt.Sprintf(", %d preseeded", n)
	}
	if n := report.Count(plan.Reused); n > 0 {
		said += fmt.Sprintf(", %d reused", n)
	}
	return said
}

// reported says whether the summary of a run has a verdict on an output.
type reported int

const (
	quiet reported = iota // only if it is MISMATCH
	shown                 // always
	lost                  // never: it failed, was skipped or not run
)

// reportedRefs returns what the summary says about the outputs of a run. Outputs that
// were built and targets are shown.
func reportedRefs(report *driver.Report) map[graph.Ref]reported {
	told := make(map[graph.Ref]reported, len(report.Plan.Targets))
	for _, ref := range report.Plan.Targets {
		told[ref] = shown
	}
	for _, r := range report.Results {
		switch r.Outcome {
		case plan.Built, plan.Reused:
			told[r.Ref] = shown
		case plan.Unchanged, plan.Preseeded:
		default:
			told[r.Ref] = lost
		}
	}
	return told
}

// tableLogLines is how many lines of a failed build's log the table shows.
const tableLogLines = 8

// tableLineBytes is the maximum length of such a line, in bytes.
const tableLineBytes = 1 << 10

// printTable writes which outputs failed and why, which were skipped because of them,
// and which differ from the published digest. ending is the error that ended the run
// early; the caller prints it later, so its output only refers to it. The returned error
// is the exit code of the failures, nil if nothing failed.
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
		printDiffers(w, v)
	}
	if codes == nil {
		return nil
	}
	return codeError(worst(codes...))
}

// printDiffers writes a row for an output that differs from the published digest; that of
// a MISMATCH ends with the command to type next.
func printDiffers(w io.Writer, v verdict.Verdict) {
	if v.Word != verdict.Mismatch && v.Word != verdict.Changed {
		return
	}
	fmt.Fprintf(w, "sx: differs  %s: %s, published %s, built %s", v.Ref, differing(v), short(v.Want.String()), short(v.Got.String()))
	if len(v.Builders) > 0 {
		fmt.Fprintf(w, " on %s", verdict.Places(v.Builders))
	}
	if next := nextCommand(v); next != "" {
		fmt.Fprintf(w, "; what differs: %s", next)
	}
	fmt.Fprintln(w)
}

// differing is the word for a difference, or what it is tainted by.
func differing(v verdict.Verdict) string {
	if v.Word == verdict.Mismatch && !v.Own() {
		return v.String()
	}
	return string(v.Word)
}

// nextCommand returns the command that tells more of a MISMATCH, "" for other verdicts and
// for one that a dependency explains.
func nextCommand(v verdict.Verdict) string {
	switch {
	case !v.Own():
		return ""
	case v.Against != "": // sx diff with one argument takes the digest of the tree
		return fmt.Sprintf("sx diff %s docker.io/stagex/%s@%s", v.Ref, v.Ref, v.Want)
	}
	return "sx diff " + v.Ref.String()
}

// sameFailures lists failed outputs by cause.
type sameFailures map[string][]string

// more reports whether r is to be left out because enough failures with its cause were
// printed. A failed build has a log of its own and is never left out.
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

// print writes a row for the failures of each cause that more left out.
func (s sameFailures) print(w io.Writer) {
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if rest := s[key][min(len(s[key]), sameCause):]; len(rest) > 0 {
			fmt.Fprintf(w, "sx: failed   %d more for the same cause (%s): %s\n", len(rest), text.Field(key), some(rest))
		}
	}
}

func printFailure(w io.Writer, r driver.Result) {
	if differ := (*driver.DifferError)(nil); errors.As(r.Err, &differ) {
		printDisagreement(w, differ)
		return
	}
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

// skippedNames is how many names one row lists: one failure may skip hundreds.
const skippedNames = 8

// printSkipped writes a row for each failure that outputs were skipped for.
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
