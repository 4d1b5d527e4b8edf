package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/reproduce"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/graph"
)

// maxRuns bounds --runs.
const maxRuns = 100

// runs is the digests that several builds of outputs gave.
type runs struct {
	*session
	refs    []graph.Ref
	wanted  int
	vary    []buildkit.Variation
	digests map[graph.Ref][]oci.Digest // in the order of the runs
}

// canVary refuses --vary where it would change nothing.
func canVary(set settings.Settings, vary []buildkit.Variation) error {
	switch _, only := set.Embedded(); {
	case !only:
		return usagef("--vary changes how the embedded engine runs a RUN, and works with no other engine: SX_ENGINE_ADDRESS=embedded sx reproduce ... --vary %s", buildkit.ListVariations(vary))
	case slices.Contains(vary, buildkit.VaryCPUs) && runtime.NumCPU() < 2:
		return usagef("--vary cpus leaves a RUN one processor, and sx has no more here: leave it out")
	}
	return nil
}

// repeatBuilds builds refs several times and prints whether each has the same digest every time.
// The definitions are built as they stand, each time without a cache; with variations all
// runs but the first build apart, and nothing of them is kept. With --keep-going an output
// that fails does not keep the others from being compared.
func repeatBuilds(ctx context.Context, s *session, area *reproduce.Area, refs []graph.Ref, o reproduceOptions) error {
	all := &runs{session: s, refs: refs, wanted: o.runs, vary: o.varied, digests: map[graph.Ref][]oci.Digest{}}
	var failed []error
	for n := 1; n <= o.runs; n++ {
		ran, err := all.run(ctx, area, n)
		failed = append(failed, err)
		if err != nil && (!ran || !s.set.Build.KeepGoing || ctx.Err() != nil) {
			return errors.Join(failed...)
		}
	}
	return errors.Join(append(failed, all.print())...)
}

// run is the n-th run. Ran says that it came to an end, although outputs may have failed.
func (r *runs) run(ctx context.Context, area *reproduce.Area, n int) (ran bool, err error) {
	said := ""
	if n > 1 && len(r.vary) > 0 {
		said = ", varying " + buildkit.ListVariations(r.vary)
		if area, err = area.Aside(); err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, area.Close()) }()
	}
	p, err := area.Plan(ctx, r.refs, true)
	if err != nil {
		return false, err
	}
	one := &reproduction{session: r.session, area: area, plan: p, refs: r.refs, vary: r.vary}
	if n == 1 {
		one.printBlocked(r.stderr)
	}
	fmt.Fprintf(r.stderr, "sx: run %d of %d%s\n", n, r.wanted, said)
	report, err := one.once(ctx)
	if report == nil {
		return false, err
	}
	for _, res := range report.Results {
		if res.Outcome == plan.Built {
			r.digests[res.Ref] = append(r.digests[res.Ref], res.Digest)
		}
	}
	return true, err
}

// once builds and prints what failed.
func (r *reproduction) once(ctx context.Context) (report *driver.Report, err error) {
	err = r.withDisplay(ctx, func(d *progress.Display) (err error) {
		report, err = r.build(ctx, d)
		return err
	})
	if report == nil {
		return nil, err
	}
	if failed := printTable(r.stderr, report, nil, err); err == nil {
		err = failed
	}
	return report, r.interrupted(ctx, report, err)
}

// print writes a line for each output. The error is the exit code.
func (r *runs) print() error {
	var codes []int
	for _, ref := range r.refs {
		all := r.digests[ref]
		distinct := slices.Clone(all)
		slices.SortFunc(distinct, func(a, b oci.Digest) int { return slices.Compare([]byte(a.Hex()), []byte(b.Hex())) })
		distinct = slices.Compact(distinct)
		switch {
		case len(all) < r.wanted:
			codes = append(codes, exitUnproven)
			fmt.Fprintf(r.stdout, "%s was not built %d times\n", ref, r.wanted)
		case len(distinct) > 1:
			codes = append(codes, exitMismatch)
			fmt.Fprintf(r.stdout, "%s differs: %d digests in %d runs%s\n", ref, len(distinct), r.wanted, r.varied())
			r.printNarrower(ref)
		default:
			fmt.Fprintf(r.stdout, "%s is the same in %d runs%s: %s\n", ref, r.wanted, r.varied(), all[0])
		}
	}
	if codes == nil {
		return nil
	}
	return codeError(worst(codes...))
}

// completeVariations completes the last of the words that commas separate.
func completeVariations(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	before := begun[:strings.LastIndexByte(begun, ',')+1]
	var all []string
	for _, v := range buildkit.Variations {
		if !slices.Contains(strings.Split(before, ","), string(v)) {
			all = append(all, before+string(v))
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// varied says what was varied in all runs but the first.
func (r *runs) varied() string {
	if len(r.vary) == 0 {
		return ""
	}
	return ", all but the first varying " + buildkit.ListVariations(r.vary)
}

// printNarrower writes the command that finds what an output depends on.
func (r *runs) printNarrower(ref graph.Ref) {
	switch len(r.vary) {
	case 0:
	case 1:
		fmt.Fprintf(r.stderr, "sx: differs  %s: is it %s, or not the same twice anyway: sx reproduce %s --runs 2\n", ref, r.vary[0], ref)
	default:
		fmt.Fprintf(r.stderr, "sx: differs  %s: which of them is it: sx reproduce %s --vary %s, and so on\n", ref, ref, r.vary[0])
	}
}
