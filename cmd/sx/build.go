package main

import (
	"context"
	"encoding/json"
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
	f.String("disk-floor", "", "start nothing when less than `SIZE` is free on the disk of out/ (default \"2GiB\")")
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
		Offline: o.offline, Jobs: set.Build.Jobs, DiskFloor: set.Build.DiskFloor, Engine: engine, Version: engineVersion(),
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
