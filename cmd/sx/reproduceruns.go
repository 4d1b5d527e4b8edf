package main

import (
	"context"
	"fmt"
	"slices"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/reproduce"
	"codeberg.org/stagex/sx/graph"
)

// maxRuns bounds --runs.
const maxRuns = 100

// repeatBuilds builds refs several times and prints whether each has the same digest every time.
// The definitions are built as they stand, each time without a cache.
func repeatBuilds(ctx context.Context, s *session, area *reproduce.Area, refs []graph.Ref, o reproduceOptions) error {
	digests := map[graph.Ref][]oci.Digest{}
	for run := 1; run <= o.runs; run++ {
		p, err := area.Plan(ctx, refs, true)
		if err != nil {
			return err
		}
		r := &reproduction{session: s, area: area, plan: p, refs: refs}
		if run == 1 {
			r.printBlocked(s.stderr)
		}
		fmt.Fprintf(s.stderr, "sx: run %d of %d\n", run, o.runs)
		var report *driver.Report
		err = s.withDisplay(ctx, func(d *progress.Display) (err error) {
			report, err = r.build(ctx, d)
			return err
		})
		if report != nil {
			if failed := printTable(s.stderr, report, nil, err); err == nil {
				err = failed
			}
			err = r.interrupted(ctx, report, err)
		}
		if err != nil {
			return err
		}
		for _, res := range report.Results {
			if res.Outcome == plan.Built {
				digests[res.Ref] = append(digests[res.Ref], res.Digest)
			}
		}
	}
	return printRuns(s, refs, digests, o.runs)
}

// printRuns writes a line for each output. The error is the exit code.
func printRuns(s *session, refs []graph.Ref, digests map[graph.Ref][]oci.Digest, runs int) error {
	var codes []int
	for _, ref := range refs {
		all := digests[ref]
		distinct := slices.Clone(all)
		slices.SortFunc(distinct, func(a, b oci.Digest) int { return slices.Compare([]byte(a.Hex()), []byte(b.Hex())) })
		distinct = slices.Compact(distinct)
		switch {
		case len(all) < runs:
			codes = append(codes, exitUnproven)
			fmt.Fprintf(s.stdout, "%s was not built %d times\n", ref, runs)
		case len(distinct) > 1:
			codes = append(codes, exitMismatch)
			fmt.Fprintf(s.stdout, "%s differs: %d digests in %d runs\n", ref, len(distinct), runs)
		default:
			fmt.Fprintf(s.stdout, "%s is the same in %d runs: %s\n", ref, runs, all[0])
		}
	}
	if codes == nil {
		return nil
	}
	return codeError(worst(codes...))
}
