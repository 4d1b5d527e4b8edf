package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

type buildOptions struct {
	all, dryRun, json, noCache, offline bool
}

func newBuildCommand(a *app) *cobra.Command {
	var o buildOptions
	c := &cobra.Command{
		Use:   "build SELECTOR... | --all",
		Short: "Build outputs from source and compare their digests",
		Long: `Builds the selected outputs and everything they are built from: fetches sources,
builds what is not up to date, writes out/<output>/, and compares digests with
digests/. The verdicts go to stdout, all else to stderr:

` + verdictHelp + `

The exit code is 3 only for a MISMATCH: an edit of yours is CHANGED, and 0.

Ctrl-C lets running builds finish; a second one cancels them, a third exits.`,
		Example: `  sx build bootstrap-stage0 core-profile
  sx build rust                 # core-rust and pallet-rust
  sx build 'core-*' -j 4 -k     # four at once, and go on after a failure
  sx build --all --dry-run      # what would be built, and why`,
		RunE: func(c *cobra.Command, args []string) error {
			return runBuild(c.Context(), a, args, o, changedFlags(c))
		},
	}
	f := c.Flags()
	f.BoolVar(&o.all, "all", false, "build the whole tree")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "print the plan and do nothing")
	f.BoolVar(&o.json, "json", false, "with --dry-run: print the plan and every request as JSON")
	f.BoolP("keep-going", "k", false, "after a failure go on with what does not depend on it")
	f.BoolVar(&o.noCache, "no-cache", false, "run every step of the selected outputs again")
	f.BoolVar(&o.offline, "offline", false, "download nothing, and give no RUN a network")
	f.IntP("jobs", "j", 0, "build at most `N` outputs at once (default: from the number of cores)")
	f.String("platform", graph.DefaultPlatform, "platforms to build for, with commas between; a package's own win")
	addProgressFlag(c)
	return c
}

func (o buildOptions) check(selectors []string) error {
	switch {
	case o.all && len(selectors) > 0:
		return usagef("--all and selectors exclude each other")
	case !o.all && len(selectors) == 0:
		return usagef("nothing is selected: name outputs (sx build core-curl) or use --all")
	case o.json && !o.dryRun:
		return usagef("--json goes with --dry-run")
	}
	return nil
}

func runBuild(ctx context.Context, a *app, selectors []string, o buildOptions, flags map[string]string) error {
	if err := o.check(selectors); err != nil {
		return err
	}
	return a.inTree(ctx, flags, selectors, func(t *build.Tree, set settings.Settings, refs []graph.Ref) error {
		if o.dryRun {
			return dryRun(ctx, a.stdout, t, refs, set.Build.Platforms, o)
		}
		return buildRefs(ctx, a, t, set, refs, o)
	})
}

func buildRefs(ctx context.Context, a *app, t *build.Tree, set settings.Settings, refs []graph.Ref, o buildOptions) error {
	display, err := a.display(set)
	if err != nil {
		return err
	}
	engine := a.engine(t, set)
	engine.Waiting = func() { display.Waiting("another sx, whose engine is of another build") }
	report, err := t.Build(ctx, refs, build.Options{
		Platforms: set.Build.Platforms, NoCache: o.noCache, KeepGoing: set.Build.KeepGoing,
		Offline: o.offline, Jobs: set.Build.Jobs, Engine: engine, Version: engineVersion(),
		Fetch: fetchSettings(set), Status: display, Drain: drainOf(ctx),
		Escape: func(w io.Writer) io.WriteCloser { return text.NewLogWriter(w) },
	})
	display.Close()
	if report == nil || (err != nil && report.Count(build.NotRun) == len(report.Results)) {
		return err // nothing was built: nothing to conclude
	}
	return conclude(a, t, report, display.Talks(), err)
}

func engineVersion() string {
	v := sxVersion()
	return v.Version + " " + v.Build
}

func (a *app) engine(t *build.Tree, set settings.Settings) *buildkit.Embedded {
	return &buildkit.Embedded{
		Dir: t.Store.Dir("engine"), Store: t.Store, Runc: set.Engine.Runc, Snapshotter: set.Engine.Snapshotter,
		CacheSize: set.Engine.CacheSize, Log: a.logger(),
	}
}

// conclude prints the verdicts of what was built, of the targets, and of all in
// their closure that is MISMATCH, then what failed, and turns it all into one
// error.
func conclude(a *app, t *build.Tree, report *build.Report, talk bool, err error) error {
	j, done := newJudge(t)
	defer done()
	told := toTell(report)
	var vs []build.Verdict
	for _, ref := range t.Graph.Closure(report.Plan.Targets) {
		if told[ref] == lost {
			continue
		}
		v, jerr := j.Judge(ref)
		if jerr != nil {
			return errors.Join(err, jerr)
		}
		if told[ref] == shown || v.Word == build.Mismatch {
			vs = append(vs, v)
			printVerdict(a.stdout, v)
		}
	}
	counts := summarise(a.stdout, vs)
	failures := printFailures(a.stderr, report)
	if talk {
		fmt.Fprintf(a.stderr, "sx: %d built, %d up to date, %d saved, %d failed, %d skipped, %d not run\n",
			report.Count(build.Built), report.Plan.Count(build.ActionNone), report.Count(build.Saved),
			report.Count(build.Failed), report.Count(build.Skipped), report.Count(build.NotRun))
	}
	switch {
	case err != nil:
		return err
	case failures != nil:
		return failures
	case counts[build.Mismatch] > 0:
		return codeError(exitMismatch)
	case report.Count(build.NotRun) > 0:
		return codeError(exitInterrupt)
	}
	return nil
}

// telling is what a run's end says of an output.
type telling int

const (
	quiet telling = iota // only when it is MISMATCH
	shown                // its verdict
	lost                 // nothing: it could not be brought up to date
)

// toTell sorts the outputs of a run: verdicts are due for what was built and for
// the targets.
func toTell(report *build.Report) map[graph.Ref]telling {
	told := map[graph.Ref]telling{}
	for _, ref := range report.Plan.Targets {
		told[ref] = shown
	}
	for _, r := range report.Results {
		switch r.Outcome {
		case build.Built:
			told[r.Ref] = shown
		case build.Saved:
		default:
			told[r.Ref] = lost
		}
	}
	return told
}

// printFailures writes the table of what failed and was skipped. The error is
// nil when nothing failed; a missing source keeps its own exit code.
func printFailures(w io.Writer, report *build.Report) error {
	var failed error
	for _, r := range report.Results {
		switch r.Outcome {
		case build.Failed:
			fmt.Fprintf(w, "sx: failed   %s: %s\n", r.Ref, text.Field(r.Err.Error()))
			if r.Log != "" {
				fmt.Fprintf(w, "             log: %s\n", r.Log)
			}
			var source *build.SourceError
			switch {
			case !errors.As(r.Err, &source):
				failed = codeError(exitFailed)
			case failed == nil:
				failed = codeError(exitFetch)
				printMirrors(w, r.Err) // of all sources, so once
			}
		case build.Skipped:
			fmt.Fprintf(w, "sx: skipped  %s: it needs %s\n", r.Ref, r.Cause)
		}
	}
	return failed
}

func dryRun(ctx context.Context, w io.Writer, t *build.Tree, refs []graph.Ref, platforms []string, o buildOptions) error {
	plan, err := t.Plan(ctx, refs, build.PlanOptions{Platforms: platforms, NoCache: o.noCache, Probe: buildkit.ProbeDigest})
	if err != nil {
		return err
	}
	if o.json {
		return planJSON(w, plan)
	}
	for _, s := range plan.Steps {
		if s.Action == build.ActionNone {
			fmt.Fprintf(w, "%s: %s\n", s.Output.Ref, s.Action)
			continue
		}
		fmt.Fprintf(w, "%s: %s, because %s\n", s.Output.Ref, s.Action, text.Field(s.Reason))
	}
	fmt.Fprintf(w, "%s: %d to build, %d up to date\n", count(len(plan.Steps), "output"), plan.Count(build.ActionBuild), plan.Count(build.ActionNone))
	return nil
}

// planStep is a step as `sx build --dry-run --json` prints it. It only gains
// fields.
type planStep struct {
	Ref     graph.Ref     `json:"ref"`
	Action  build.Action  `json:"action"`
	Reason  string        `json:"reason"`
	Request graph.Request `json:"request"`
}

func planJSON(w io.Writer, plan *build.Plan) error {
	steps := []planStep{}
	for _, s := range plan.Steps {
		steps = append(steps, planStep{s.Output.Ref, s.Action, s.Reason, s.Request})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"steps": steps})
}
