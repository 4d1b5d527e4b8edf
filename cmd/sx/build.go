package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

type buildOptions struct {
	scope                                                        scope
	dryRun, json, noCache, rebuild, offline, preseed, fromSource bool
	deliver                                                      deliverOptions
	require                                                      requireOptions
	against                                                      againstFlag
	ci                                                           ciOptions
	onEach                                                       onEach
}

func newBuildCommand(a *app) *cobra.Command {
	o := buildOptions{scope: scope{required: true}}
	c := &cobra.Command{
		Use:   "build SELECTOR... | --all",
		Short: "Build outputs from source and compare their digests",
		Long: `Builds the selected outputs and their dependencies: fetches sources, builds what is
not up to date, writes out/<output>/, and compares digests with digests/. stdout has
a line for each verdict, stderr everything else:

` + verdictHelp + `

An edit of yours is CHANGED, not MISMATCH, and exits with 0.

sx rebuilds an output when any of its inputs has changed. If a rebuilt output has the
same digest as before, its dependents are not rebuilt. The last line counts:

  built        from source, in this run
  up to date   nothing to do
  unchanged    not rebuilt: its rebuilt dependencies have the digests of before
  reused       built already: by another sx in the meantime, or its image came from the hub
  preseeded    its published image was pulled
  skipped      a dependency failed
  not run      the run ended before its turn

If a selected output is broken (there is an error in its definition, or in that of a
dependency), nothing is built; with -k all others are. The exit code is 2.

A preseeded dependency is not built as long as git's history says that its definitions
have not changed since digests/ did. Its dependents are then MATCH "given" one more
unproven input.

With --on-each every output is built on each of the engines. If the results are equal,
they are evidence of all these engines: MATCH (on each of A, B). If not, out/ is left
alone, the results are kept for sx diff, and the exit code is 3.

The first Ctrl-C lets running builds finish, the second cancels them, the third exits.`,
		Example: `  sx build bootstrap-stage0 core-profile
  sx build rust                   # core-rust and pallet-rust
  sx build 'core-*' -j 4 -k       # four at once, and go on after a failure
  sx build pallet-rust --preseed  # pallet-rust from source, its dependencies as published
  sx build --all --dry-run        # what would be built, and why; see also sx explain
  sx build --all --no-cache --engine ssh://builder.example.org
  sx build --all --no-cache --on-each embedded,ssh://amd.example.org`,
		Annotations:       codes(exitFailed, exitMismatch, exitUnsigned, exitFetch, exitMachine, exitDisk),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.scope.check(c, args); err != nil {
				return err
			}
			flags := changedFlags(c)
			if err := o.onEach.set(flags); err != nil {
				return err
			}
			return runBuild(c.Context(), a, args, o, flags)
		},
	}
	o.addFlags(a, c)
	return c
}

func (o *buildOptions) addFlags(a *app, c *cobra.Command) {
	f := c.Flags()
	o.scope.addFlag(c)
	addDryRunFlag(c, &o.dryRun)
	addJSONFlag(c, &o.json, "with --dry-run, the plan and every request")
	f.BoolP("keep-going", "k", false, "after a failure go on with outputs that do not depend on it")
	f.BoolVar(&o.noCache, "no-cache", false, "build the selected outputs (not their dependencies) even if up to date, without the engine's cache")
	f.BoolVar(&o.rebuild, "rebuild", false, "like --no-cache, but with the engine's cache")
	f.BoolVar(&o.offline, "offline", false, "download nothing, and run every RUN without a network")
	f.BoolVar(&o.preseed, "preseed", false, "pull published images of the dependencies instead of building them")
	f.BoolVar(&o.fromSource, "from-source", false, "use no published image: build everything that was not built here")
	f.String("disk-floor", "", "start no build while less than `SIZE` is free on the disk of out/ (default 2GiB)")
	f.StringP("jobs", "j", "", "build at most `N` outputs at once (default: from cores and memory)")
	f.String("memory", "", "memory budget for all concurrent builds, `SIZE` (default: 90 % of RAM)")
	addPlatformFlag(c, "comma-separated `PLATFORMS` to build for; a package's own take precedence")
	o.against.addFlag(f)
	o.require.addFlags(f)
	o.deliver.addFlags(c)
	o.ci.addFlags(f)
	addProgressFlag(c)
	addTraceFlag(c, &a.trace)
	addEngineFlags(c)
	addHubFlags(c)
	o.onEach.addFlag(f)
}

func (o buildOptions) check() error {
	switch {
	case o.json && !o.dryRun:
		return usagef("--json goes with --dry-run")
	case o.preseed && o.fromSource:
		return usagef("--preseed and --from-source exclude each other")
	case o.preseed && o.offline:
		return usagef("--preseed downloads images, and --offline forbids that; images that were preseeded before are used without --preseed")
	}
	if len(o.against) > 0 && (o.dryRun || o.deliver.push.given()) {
		return usagef("--against changes verdicts only: --dry-run and --push, which use the tree's digests/, cannot be combined with it")
	}
	if o.require.required && o.fromSource {
		return usagef("--from-source uses no published image, so --require-signatures has nothing to check")
	}
	return errors.Join(o.require.check(), o.deliver.check(o.dryRun, o.offline))
}

func runBuild(ctx context.Context, a *app, selectors []string, o buildOptions, flags map[string]string) error {
	if err := o.check(); err != nil {
		return err
	}
	return a.inTreeSelecting(ctx, flags, selectors, o.scope.all, func(s *session, sel selection) error {
		a.warn(s.tree.Graph)
		broken := sel.err()
		if broken != nil && (!s.set.Build.KeepGoing || len(sel.refs) == 0) {
			return broken
		}
		return errors.Join(s.buildUnbroken(ctx, sel.refs, o), broken)
	})
}

// buildUnbroken builds refs, none of which is broken, or prints the plan.
func (s *session) buildUnbroken(ctx context.Context, refs []graph.Ref, o buildOptions) error {
	var unread error // which keeps nothing from being built
	if len(o.against) == 0 {
		unread = s.tree.UnreadError(refs)
	}
	if o.dryRun {
		return errors.Join(dryRun(ctx, s, refs, o), unread)
	}
	return errors.Join(s.withDisplay(ctx, func(d *progress.Display) error {
		return s.buildRefs(ctx, refs, o, d)
	}), unread)
}

func (s *session) buildRefs(ctx context.Context, refs []graph.Ref, o buildOptions, display *progress.Display) error {
	drain := drainOf(ctx)
	defer onFirst(drain, display.Interrupted)()
	for _, name := range slices.Sorted(maps.Keys(s.set.Packages)) {
		if !schedule.Knows(s.tree, name) {
			display.Warn(fmt.Sprintf("stagex.toml has settings for [packages.%q], but no output or definition has that name", name))
		}
	}
	judges, err := o.against.panel(ctx, s.tree, s.set)
	if err != nil {
		return err
	}
	defer judges.Close()
	sub, done := substitution(s.view, s.set, o)
	defer done()
	if sub != nil {
		sub.Preseed.Status = display.Images()
	}
	engines, err := s.engines(s.tree.Store, s.set, display)
	if err != nil {
		return err
	}
	var hub *driver.Hub
	if o.onEach == nil { // whose results are compared here, byte by byte
		if hub, err = s.hub(display); err != nil {
			return err
		}
		defer closeHub(hub)
	}
	downloads, err := fetchSettings(s.app, s.set)
	if err != nil {
		return err
	}
	images := preseedSettings(s.set)
	images.Status = display.Images()
	report, err := driver.Build(ctx, s.view, refs, driver.Options{
		Platforms: s.set.Build.Platforms, NoCache: o.noCache, Rebuild: o.rebuild, KeepGoing: s.set.Build.KeepGoing,
		Offline: o.offline, Capacity: s.sayCapacity, DiskFloor: s.set.Build.DiskFloor,
		Engines: engines, OnEach: o.onEach != nil, Bindings: bindings(s.set), Hub: hub, Reconnect: s.set.Engine.Reconnect, Version: engineVersion(),
		Foreign:      driver.Foreign{Hosts: s.set.Registries.Foreign, Preseed: images},
		Substitution: sub, FromSource: o.fromSource, Fetch: downloads, Status: display, Drain: drain,
		Escape: func(w io.Writer) io.WriteCloser { return text.NewLogWriter(w) },
		Span:   s.span, Spans: s.spans,
	})
	display.Close()
	if report == nil || (err != nil && report.Count(plan.NotRun) == len(report.Results)) {
		return err // nothing was built: nothing to summarize
	}
	return o.deliver.deliver(ctx, s, report, summarize(s.app, report, ending{judges, display, drained(drain), o.ci}, err))
}

// sayCapacity is capacity for a run that builds something, and logs it.
func (s *session) sayCapacity() schedule.Capacity {
	c := capacity(s.set)
	s.logger().Info(fmt.Sprintf("building on %s, at most %s at once within %s of memory", text.Redact(s.set.Engine.Address), count(c.Jobs, "output"), text.Bytes(c.Memory)))
	return c
}

// substitution says which published images the flags allow to be used instead of
// building dependencies. The caller calls the returned function.
func substitution(v *tree.View, set settings.Settings, o buildOptions) (*plan.Substitution, func()) {
	if o.fromSource {
		return nil, func() {}
	}
	j, done := panel.Own(v)
	sub := &plan.Substitution{Judge: j, Pull: o.preseed, Preseed: preseedSettings(set)}
	if o.require.required {
		sub.Permit = func(ctx context.Context, refs []graph.Ref) error { return o.require.permit(ctx, v.Tree, set, refs) }
	}
	return sub, done
}

// capacity returns the settings that bound concurrent builds, and those of packages.
func capacity(set settings.Settings) schedule.Capacity {
	machine := set.Build.OfMachine()
	c := schedule.Capacity{Jobs: machine.Jobs, Memory: machine.Memory, Hints: map[string]schedule.Hint{}}
	for name, p := range set.Packages {
		c.Hints[name] = schedule.Hint{Memory: p.Memory, Time: p.Time}
	}
	names, chosen := set.Selected()
	if len(chosen) < 2 {
		return c
	}
	for i, e := range chosen {
		c.Machines = append(c.Machines, schedule.Machine{
			Name: cmp.Or(names[i], e.Address), Jobs: cmp.Or(e.Jobs, machine.Jobs), Memory: cmp.Or(e.Memory, machine.Memory),
		})
	}
	return c
}

// bindings returns which engines may build what.
func bindings(set settings.Settings) (all fleet.Bindings) {
	for name, p := range set.Packages {
		if len(p.Engine) > 0 {
			all = append(all, fleet.Binding{Pattern: name, Engines: p.Engine})
		}
	}
	return all
}

func engineVersion() string {
	v := sxVersion()
	return v.Version + " " + v.Build
}
