package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/reproduce"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

type reproduceOptions struct {
	scope    scope
	dryRun   bool
	json     bool
	closure  bool
	again    bool
	fromSeed bool
	clean    bool
	runs     int
	vary     string
	varied   []buildkit.Variation // of vary
	merge    []string
	markdown bool
	shard    string
	times    []string
	part     reproduce.Shard // of shard
	repo     string
}

const reproduceLong = `Builds each selected output from the published images of its direct dependencies, which
are pulled by their digests in digests/, and compares its digest with the published one.
No output waits for another one, so that a release is proven in parallel, by one machine
or by many. Nothing comes from a cache, and out/ is not touched: images, results and an
engine of their own are in .sx/reproduce, which --clean removes. An interrupted run goes
on where it was.

The verdicts are those of sx verify. "MATCH given <n> unproven inputs" rests on n direct
dependencies, or dependencies of those, that are not reproduced here yet. If the whole
closure is MATCH (--closure), a build from the seed gives the same digests. That rests on
the engine: images that were not proven yet ran in it, isolated as all builds are.

"tainted by X" instead of MISMATCH: the digest differs, but so does that of the
dependency X, whose published image is not what its definition makes.

--shard 3/8 takes the third of eight parts, which take about the same time each; all who
select the same outputs of the same tree get the same parts.

--from-seed builds the closure from source alone, as sx build --no-cache into an empty
out/ does. It takes as long as the longest chain, and rests on no published image.

--runs 2 builds each output twice, as it stands, and compares the two digests with each
other: is it reproducible on this machine? If not, the exit code is 3. With --vary the
second RUN sees another machine: one processor (cpus), umask 0002 (umask), another host
name (hostname), a release 2.6 in uname (kernel). That takes the embedded engine, and
nothing of such a build is kept but its log.

--repo needs no checkout and no git: the tree of a tag or commit is fetched from a git
server over https, checked by its hash, and kept in $XDG_CACHE_HOME/sx/trees; sx -C works
in it too. What the tag is now is printed: keep the commit, since a tag can be moved.

--merge builds nothing: it adds up the receipts of many people (sx receipt export) whose
keys you trust (sx keys), and prints by how many people, machines and CPU vendors each
selected output is confirmed. That is their word, and never a MATCH here.`

func newReproduceCommand(a *app) *cobra.Command {
	o := reproduceOptions{scope: scope{required: true}}
	c := &cobra.Command{
		Use:   "reproduce [SELECTOR...]",
		Short: "Build outputs from the published images of their dependencies, and compare digests",
		Long:  reproduceLong,
		Example: `  sx reproduce bootstrap-stage0 core-profile
  sx reproduce pallet-rust --closure -k  # all that pallet-rust is built from, too
  sx reproduce --all --dry-run           # what would be built
  sx reproduce pallet-rust --from-seed
  sx reproduce core-curl --runs 2        # is it the same twice?
  sx reproduce core-curl --vary cpus,umask,hostname,kernel   # and on another machine?
  sx reproduce --repo https://codeberg.org/stagex/stagex.git@2026.03.0 core-curl
  sx reproduce --all --merge receipts/   # who confirms which outputs`,
		Annotations: ownWords(codes(exitFailed, exitMismatch, exitFetch, exitMachine, exitDisk, exitUnproven), map[int]string{
			exitOK:       "each selected output has its published digest",
			exitUnproven: "an output is UNPUBLISHED, CHANGED or UNPROVEN; with --merge: not confirmed",
		}),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c, args); err != nil {
				return err
			}
			flags := changedFlags(c)
			do := func() error { return runReproduce(c.Context(), a, args, o, flags) }
			switch {
			case o.repo != "" && o.clean:
				return removeRepo(c.Context(), a, o.repo, do)
			case o.repo != "":
				if err := inRepo(c.Context(), a, o.repo); err != nil {
					return err
				}
			}
			return do()
		},
	}
	o.addFlags(c)
	addProgressFlag(c)
	addTraceFlag(c, &a.trace)
	addEngineFlags(c)
	return c
}

func (o *reproduceOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	o.scope.addFlag(c)
	addDryRunFlag(c, &o.dryRun)
	addJSONFlag(c, &o.json, "each verdict with its evidence; with --dry-run, the plan")
	f.StringVar(&o.repo, "repo", "", "work in the tree of a commit that a git server has, `URL@TAG` or URL@COMMIT, instead of a checkout")
	f.BoolVar(&o.closure, "closure", false, "also all dependencies of the selected outputs")
	f.BoolVar(&o.again, "again", false, "build the outputs anew that were reproduced before")
	f.IntVar(&o.runs, "runs", 0, "build each output `N` times and print whether it is the same every time")
	f.StringVar(&o.vary, "vary", "", "with --runs: change these `THINGS` of the machine in all runs but the first: "+buildkit.ListVariations(buildkit.Variations))
	c.RegisterFlagCompletionFunc("vary", completeVariations)
	f.BoolVar(&o.fromSeed, "from-seed", false, "build the closure from source alone instead")
	f.BoolVar(&o.clean, "clean", false, "remove all that was kept of earlier runs, with --repo the tree too and its out/, and reproduce nothing")
	f.StringArrayVar(&o.merge, "merge", nil, "add up the receipts at `PLACE`, a file, folder or oci://HOST/NAMESPACE; may be repeated")
	f.BoolVar(&o.markdown, "markdown", false, "with --merge: print Markdown, for a pull request")
	f.StringVar(&o.shard, "shard", "", "the `PART` of the outputs that is this machine's: 3/8 is the third of eight")
	f.StringArrayVar(&o.times, "shard-times", nil, "divide by the times in the receipts in `PATH`, which must be the same for all shards")
	f.BoolP("keep-going", "k", false, "after a failure go on with the other outputs")
	f.String("disk-floor", "", "start no build while less than `SIZE` is free on the disk of out/ (default 2GiB)")
	f.StringP("jobs", "j", "", "build at most `N` outputs at once (default: from cores and memory)")
	f.String("memory", "", "memory budget for all concurrent builds, `SIZE` (default: 90 % of RAM)")
}

func (o *reproduceOptions) check(c *cobra.Command, args []string) error {
	if o.repo != "" && c.Flags().Changed("directory") {
		return usagef("--repo and -C exclude each other: both name the tree")
	}
	if o.clean {
		if len(args) > 0 || o.scope.all || o.dryRun || o.json || o.fromSeed || o.again || o.closure {
			return usagef("--clean removes all that was kept: it goes with no selector, and no other flag than --repo")
		}
		return nil
	}
	if o.shard != "" {
		var err error
		if o.part, err = reproduce.ParseShard(o.shard); err != nil {
			return usagef("--shard: %w", err)
		}
	}
	if c.Flags().Changed("vary") {
		var err error
		if o.varied, err = buildkit.ParseVariations(o.vary); err != nil {
			return usagef("--vary: %w", err)
		}
		if !c.Flags().Changed("runs") {
			o.runs = 2
		}
	}
	switch {
	case c.Flags().Changed("runs") && (o.runs < 2 || o.runs > maxRuns):
		return usagef("--runs takes a number from 2 to %d", maxRuns)
	case o.runs > 0 && (o.fromSeed || o.dryRun || o.json || o.shard != "" || len(o.merge) > 0):
		return usagef("--runs and --vary build the selected outputs several times: of the other modes they go with --closure only")
	case o.shard != "" && (o.fromSeed || len(o.merge) > 0):
		return usagef("--shard divides builds from published images: it goes with neither --from-seed nor --merge")
	case len(o.times) > 0 && o.shard == "":
		return usagef("--shard-times goes with --shard")
	case o.markdown && len(o.merge) == 0:
		return usagef("--markdown goes with --merge")
	case o.markdown && o.json:
		return usagef("--markdown and --json exclude each other")
	case len(o.merge) > 0 && (o.dryRun || o.again || o.fromSeed):
		return usagef("--merge builds nothing: it goes with --closure, --json and --markdown only")
	case o.fromSeed && o.closure:
		return usagef("--from-seed builds the closure anyway: leave out --closure")
	}
	return o.scope.check(c, args)
}

func runReproduce(ctx context.Context, a *app, args []string, o reproduceOptions, flags map[string]string) error {
	return a.inTreeSelecting(ctx, flags, args, false, func(s *session, sel selection) error {
		if o.clean {
			return cleanReproduced(ctx, s)
		}
		if len(o.merge) > 0 {
			return errors.Join(mergeReceipts(ctx, s, sel.refs, o), sel.err())
		}
		a.warn(s.tree.Graph)
		broken := sel.err()
		if broken != nil && (!s.set.Build.KeepGoing || len(sel.refs) == 0) {
			return broken
		}
		if len(o.varied) > 0 {
			if err := canVary(s.set, o.varied); err != nil {
				return err
			}
		}
		return errors.Join(reproduceRefs(ctx, s, sel.refs, o), broken)
	})
}

// cleanReproduced removes what earlier runs kept, the engine's folder first: without root
// only the engine can remove some of its files.
func cleanReproduced(ctx context.Context, s *session) error {
	for _, fromSeed := range []bool{false, true} {
		area, err := reproduceArea(s, fromSeed)
		if err != nil {
			return err
		}
		if err := errors.Join(busy(s.embedded(area.Tree.Store, s.set).Clean(ctx, false)), area.Close()); err != nil {
			return err
		}
	}
	return reproduce.Remove(s.tree)
}

func reproduceArea(s *session, fromSeed bool) (*reproduce.Area, error) {
	return reproduce.Open(s.tree, tree.Options{KeyFile: keyFile(), Build: engineVersion(), Log: s.logger()}, fromSeed)
}

func reproduceRefs(ctx context.Context, s *session, refs []graph.Ref, o reproduceOptions) (err error) {
	area, err := reproduceArea(s, o.fromSeed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, area.Close()) }()
	if o.closure || o.fromSeed {
		refs = s.tree.Graph.Closure(refs)
	}
	if o.shard != "" {
		times, err := timesIn(o.times)
		if err != nil {
			return err
		}
		refs = o.part.Part(s.tree.Graph, refs, times)
	}
	if o.runs > 0 {
		return repeatBuilds(ctx, s, area, refs, o)
	}
	p, err := area.Plan(ctx, refs, o.again)
	if err != nil {
		return err
	}
	r := &reproduction{session: s, area: area, plan: p, refs: refs, json: o.json}
	if o.dryRun {
		return r.dryRun()
	}
	return s.withDisplay(ctx, func(d *progress.Display) error { return r.run(ctx, d) })
}

// reproduction is one run of sx reproduce.
type reproduction struct {
	*session
	area *reproduce.Area
	plan *reproduce.Plan
	refs []graph.Ref // that are judged
	json bool
	vary []buildkit.Variation // if the area is for varied builds
}

func (r *reproduction) dryRun() error {
	c := capacity(r.set)
	f := schedule.NewForecast(r.tree, r.plan.Plan, c)
	if r.json {
		return planJSON(r.stdout, r.plan.Plan, f)
	}
	for _, step := range r.plan.Steps {
		printStep(r.stdout, step)
	}
	r.printBlocked(r.stdout)
	n := r.plan.Count(plan.ActionBuild)
	fmt.Fprintf(r.stdout, "%s: %d to build, %d reproduced before\n", count(len(r.refs), "output"), n, r.plan.Count(plan.ActionNone))
	printForecast(r.stdout, n, f, c.TotalJobs())
	return nil
}

func (r *reproduction) printBlocked(w io.Writer) {
	for _, b := range r.plan.Blocked {
		fmt.Fprintf(w, "%s: cannot be reproduced: %s\n", b.Ref, b.Why)
	}
}

func (r *reproduction) run(ctx context.Context, display *progress.Display) error {
	report, err := r.build(ctx, display)
	if report == nil {
		return err
	}
	all := errors.Join(err, r.summarize(report, display), printTable(r.stderr, report, nil, err))
	return r.interrupted(ctx, report, all)
}

// build runs the plan and closes the display.
func (r *reproduction) build(ctx context.Context, display *progress.Display) (*driver.Report, error) {
	opts, err := r.options(ctx, display)
	if err != nil {
		return nil, err
	}
	defer onFirst(opts.Drain, display.Interrupted)()
	images := preseedSettings(r.set)
	images.Status = display.Images()
	report, err := r.area.Run(ctx, r.plan, images, opts)
	err = errors.Join(err, r.endEngine(ctx))
	display.Close()
	return report, err
}

// interrupted joins err with the exit code of a run that a Ctrl-C ended early.
func (r *reproduction) interrupted(ctx context.Context, report *driver.Report, err error) error {
	if drained(drainOf(ctx)) && report.Count(plan.NotRun) > 0 {
		return errors.Join(err, codeError(exitInterrupt))
	}
	return err
}

func (r *reproduction) options(ctx context.Context, display *progress.Display) (opts driver.Options, err error) {
	engines, err := r.reproducer(display)
	if err != nil {
		return opts, err
	}
	downloads, err := fetchSettings(r.app, r.set)
	if err != nil {
		return opts, err
	}
	images := preseedSettings(r.set)
	images.Status = display.Images()
	return driver.Options{
		KeepGoing: r.set.Build.KeepGoing, NoCache: true, Home: r.tree, Varied: r.area.Varied(), Machine: reproduce.ThisMachine(),
		Capacity: func() schedule.Capacity { return capacity(r.set) }, DiskFloor: r.set.Build.DiskFloor,
		Engines: engines, Bindings: bindings(r.set), Reconnect: r.set.Engine.Reconnect, Version: engineVersion(),
		Foreign: driver.Foreign{Hosts: r.set.Registries.Foreign, Preseed: images},
		Fetch:   downloads, Status: display, Drain: drainOf(ctx),
		Escape: func(w io.Writer) io.WriteCloser { return text.NewLogWriter(w) },
		Span:   r.span, Spans: r.spans,
	}, nil
}

// reproducer returns the engines of the run: the user's, or one that varies what a RUN sees.
func (r *reproduction) reproducer(display *progress.Display) ([]fleet.Member, error) {
	if !r.area.Varied() {
		return r.engines(r.area.Tree.Store, r.set, display)
	}
	e := r.embedded(r.area.Tree.Store, r.set)
	e.Vary = r.vary
	return []fleet.Member{{Engine: e}}, nil
}

// endEngine ends the engine of the run and removes its data, in which unproven images
// ran. Another sx that works on it keeps it.
func (r *reproduction) endEngine(ctx context.Context) error {
	if embedded, _ := r.set.Embedded(); !embedded {
		return nil
	}
	err := r.embedded(r.area.Tree.Store, r.set).Clean(context.WithoutCancel(ctx), r.area.Varied())
	if errors.As(err, new(*buildkit.BusyError)) {
		return nil
	}
	return err
}
