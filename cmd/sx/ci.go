package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/ci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// ciOptions are the flags for CI systems. Annotations and a summary need none: they are
// made where the system's variables are set.
type ciOptions struct{ junit string }

func (o *ciOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.junit, "junit", "", "also write the results to `FILE`, as JUnit's XML")
}

// ciLogLines is how many lines of a failed build's log an annotation shows.
const ciLogLines = 100

// tellCI gives a report to the CI system that runs sx, and to the file of --junit. tree is
// the tree's folder. Without either, report is not called.
func tellCI(a *app, o ciOptions, tree string, report func() ci.Report) error {
	system := ci.Detect(os.Getenv)
	if system == ci.None && o.junit == "" {
		return nil
	}
	r := report()
	if workspace := os.Getenv("GITHUB_WORKSPACE"); workspace != "" {
		if rel, err := filepath.Rel(workspace, tree); err == nil && filepath.IsLocal(rel) {
			r.Tree = filepath.ToSlash(rel)
		}
	}
	err := ci.Annotate(a.stderr, system, r)
	if path := os.Getenv("GITHUB_STEP_SUMMARY"); path != "" && system != ci.None {
		err = errors.Join(err, appendSummary(path, r))
	}
	if o.junit != "" {
		var doc bytes.Buffer
		err = errors.Join(err, ci.JUnit(&doc, r))
		err = errors.Join(err, disk.WriteNamed(o.junit, doc.Bytes(), 0o644))
	}
	return err
}

// appendSummary adds to the file that the steps of a job share.
func appendSummary(path string, r ci.Report) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("GITHUB_STEP_SUMMARY: %w", err)
	}
	return errors.Join(ci.Summary(f, r), f.Close())
}

// ciOfRun is about what a build did and the verdicts that it printed.
func ciOfRun(report *driver.Report, vs []verdict.Verdict) ci.Report {
	r := ci.Report{Command: "sx build", Totals: runCounts(report)}
	judged := map[graph.Ref]verdict.Verdict{}
	for _, v := range vs {
		judged[v.Ref] = v
	}
	for _, res := range report.Results {
		if v, ok := judged[res.Ref]; ok && res.Outcome != plan.Failed {
			one := ciOfVerdict(v, v.Word == verdict.Mismatch)
			one.Elapsed = res.Elapsed
			r.Results = append(r.Results, one)
			delete(judged, res.Ref)
			continue
		}
		r.Results = append(r.Results, ciOfResult(res))
	}
	for _, v := range vs { // up to date, so not among the results
		if _, left := judged[v.Ref]; left {
			r.Results = append(r.Results, ciOfVerdict(v, v.Word == verdict.Mismatch))
		}
	}
	return r
}

func ciOfResult(res driver.Result) ci.Result {
	one := ci.Result{Output: res.Ref.String(), Words: string(res.Outcome), Elapsed: res.Elapsed}
	switch res.Outcome {
	case plan.Built, plan.Preseeded:
	case plan.Unchanged:
		one.Words = "unchanged"
	case plan.Reused:
		one.Words = "reused"
	case plan.Skipped:
		one.State, one.Message = ci.Skipped, res.Cause.String()+" failed"
	case plan.NotRun:
		one.State = ci.Skipped
	default: // failed
		one.State = ci.Failed
	}
	if res.Err != nil {
		one.Message = res.Err.Error()
	}
	if built := (*buildkit.BuildError)(nil); errors.As(res.Err, &built) {
		one.File, one.Line = built.File, built.Line
	}
	if res.Log != "" && one.State == ci.Failed {
		one.LogPath = res.Log
		if tail, err := progress.LogTail(res.Log, ciLogLines); err == nil {
			one.Log = tail
		}
	}
	return one
}

// ciOfVerdicts is about what sx verify found: it wants MATCH without a condition.
func ciOfVerdicts(vs []verdict.Verdict) ci.Report {
	r := ci.Report{Command: "sx verify", Totals: countWords(vs)}
	for _, v := range vs {
		r.Results = append(r.Results, ciOfVerdict(v, !v.Full()))
	}
	return r
}

func ciOfVerdict(v verdict.Verdict, failed bool) ci.Result {
	one := ci.Result{Output: v.Ref.String(), Words: v.String(), Message: v.Note}
	if v.Word == verdict.Mismatch || v.Word == verdict.Changed {
		one.Words += ", published " + v.Want.String() + ", built " + v.Got.String()
	}
	if failed {
		one.State = ci.Failed
	}
	return one
}
