package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

type buildOptions struct {
	all, dryRun, json, noCache, rebuild, offline, preseed, fromSource bool
	give                                                              giveOptions
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

An output is built when something it is made of is not what its record says. Two
flags build the selected outputs (not what they are built from) also without a
reason: --rebuild asks the engine again, which answers from its cache what it has
there, in seconds; --no-cache has it run every step again, whatever it has. An
output that comes out as it was ends the matter: what waits for it is not built.

What is preseeded (sx preseed) and still is what the tree says, by git's history,
is not built again, but what is built from it is MATCH only "given" that. --preseed
pulls the published images of what the selected outputs are built from, as far as
they are read, instead of building them; --from-source takes none.

If a selected output is broken, because something in its definition or in that of
a dependency is wrong, nothing is built; with -k all others are. Either way that is
exit code 2.

Ctrl-C lets running builds finish; a second one cancels them, a third exits.`,
		Example: `  sx build bootstrap-stage0 core-profile
  sx build rust                 # core-rust and pallet-rust
  sx build 'core-*' -j 4 -k     # four at once, and go on after a failure
  sx build pallet-rust --preseed   # pallet-rust from source, the rest as published
  sx build --all --dry-run      # what would be built, and why; see also sx explain
  sx build --all --no-cache --engine ssh://builder.example.org`,
		RunE: func(c *cobra.Command, args []string) error {
			return runBuild(c.Context(), a, args, o, changedFlags(c))
		},
	}
	f := c.Flags()
	f.BoolVar(&o.all, "all", false, "build the whole tree")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "print the plan and do nothing")
	f.BoolVar(&o.json, "json", false, "with --dry-run: print the plan and every request as JSON")
	f.BoolP("keep-going", "k", false, "after a failure go on with what does not depend on it")
	f.BoolVar(&o.noCache, "no-cache", false, "build the selected outputs whatever their records say, every step of them anew")
	f.BoolVar(&o.rebuild, "rebuild", false, "build the selected outputs whatever their records say, with what the engine's cache has")
	f.BoolVar(&o.offline, "offline", false, "download nothing, and give no RUN a network")
	f.BoolVar(&o.preseed, "preseed", false, "pull published images of what the selected outputs are built from")
	f.BoolVar(&o.fromSource, "from-source", false, "take no published image: build everything that was not built here")
	f.String("disk-floor", "", "start nothing when less than `SIZE` is free on the disk of out/ (default \"2GiB\")")
	f.IntP("jobs", "j", 0, "build at most `N` outputs at once (default: from cores and memory)")
	f.String("memory", "", "let all builds at once need at most `SIZE`, as far as that is known (default: nine tenths)")
	f.String("platform", graph.DefaultPlatform, "platforms to build for, with commas between; a package's own win")
	o.give.addFlags(f)
	addProgressFlag(c)
	addEngineFlags(f)
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
	case o.preseed && o.fromSource:
		return usagef("--preseed and --from-source exclude each other")
	case o.preseed && o.offline:
		return usagef("--preseed downloads images, and --offline forbids that; what is preseeded already is taken without --preseed")
	}
	return o.give.check(o.dryRun, o.offline)
}

func runBuild(ctx context.Context, a *app, selectors []string, o buildOptions, flags map[string]string) error {
	if err := o.check(selectors); err != nil {
		return err
	}
	return a.inTreeLooking(ctx, flags, selectors, o.all, func(t *build.Tree, set settings.Settings, sel selection) error {
		broken := sel.err()
		if broken != nil && (!set.Build.KeepGoing || len(sel.refs) == 0) {
			return broken
		}
		return errors.Join(buildSound(ctx, a, t, set, sel.refs, o, flags), broken)
	})
}

// buildSound builds what is not broken.
func buildSound(ctx context.Context, a *app, t *build.Tree, set settings.Settings, refs []graph.Ref, o buildOptions, flags map[string]string) error {
	if o.dryRun {
		return dryRun(ctx, a, t, refs, set, o)
	}
	return a.withDisplay(ctx, set, flags, func(d *progress.Display) error {
		return buildRefs(ctx, a, t, set, refs, o, d)
	})
}

func buildRefs(ctx context.Context, a *app, t *build.Tree, set settings.Settings, refs []graph.Ref, o buildOptions, display *progress.Display) error {
	drain := drainOf(ctx)
	defer onFirst(drain, display.Interrupted)()
	for _, name := range slices.Sorted(maps.Keys(set.Packages)) {
		if !t.Knows(name) {
			display.Warn(fmt.Sprintf("stagex.toml speaks of [packages.%q], and no output or definition has that name", name))
		}
	}
	sub, done := substitution(t, set, o)
	defer done()
	if sub != nil {
		sub.Preseed.Status = display.Images()
	}
	engine, err := a.engine(t.Store, set, display)
	if err != nil {
		return err
	}
	downloads, err := a.fetchSettings(set)
	if err != nil {
		return err
	}
	images := preseedSettings(set)
	images.Status = display.Images()
	report, err := t.Build(ctx, refs, build.Options{
		Platforms: set.Build.Platforms, NoCache: o.noCache, Rebuild: o.rebuild, KeepGoing: set.Build.KeepGoing,
		Offline: o.offline, Capacity: func() build.Capacity { return capacity(set) }, DiskFloor: set.Build.DiskFloor,
		Engine: engine, Reconnect: set.Engine.Reconnect, Version: engineVersion(),
		Foreign:      build.Foreign{Hosts: set.Registries.Foreign, Preseed: images},
		Substitution: sub, FromSource: o.fromSource, Fetch: downloads, Status: display, Drain: drain,
		Escape: func(w io.Writer) io.WriteCloser { return text.NewLogWriter(w) },
	})
	display.Close()
	if report == nil || (err != nil && report.Count(build.NotRun) == len(report.Results)) {
		return err // nothing was built: nothing to conclude
	}
	return o.give.give(ctx, a, t, set, report, conclude(a, t, report, display.Talks(), drained(drain), err))
}

// substitution is what the flags let stand for what is built.
func substitution(t *build.Tree, set settings.Settings, o buildOptions) (*build.Substitution, func()) {
	if o.fromSource {
		return nil, func() {}
	}
	j, done := newJudge(t)
	return &build.Substitution{Judge: j, Pull: o.preseed, Preseed: preseedSettings(set)}, done
}

// capacity is what the settings say of the machine and of packages.
func capacity(set settings.Settings) build.Capacity {
	machine := set.Build.OfMachine()
	c := build.Capacity{Jobs: machine.Jobs, Memory: machine.Memory, Hints: map[string]build.Hint{}}
	for name, p := range set.Packages {
		c.Hints[name] = build.Hint{Memory: p.Memory, Time: p.Time}
	}
	return c
}

func engineVersion() string {
	v := sxVersion()
	return v.Version + " " + v.Build
}
