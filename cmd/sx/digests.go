package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

func newDigestsCommand(a *app) *cobra.Command {
	var write, force bool
	c := &cobra.Command{
		Use:   "digests [SELECTOR...]",
		Short: "Print or record the digests of what is in out/",
		Long: `Prints a line "<digest> <output>" for each selected output in out/, as digests/
lists them.

--write replaces the lines of the selected outputs in digests/ (without
selectors: of all that this machine built), keeps all others and drops those of
outputs that the tree does not have, unless a definition is broken, which might have
them; then the exit code is 2. It refuses what was not built here, is not up to date,
or is of another platform, and without --force what is MISMATCH or UNPROVEN; then it writes
nothing, or without selectors keeps those lines. What it replaces goes to stderr, old
and new, and what it drops; with a line kept that is MISMATCH the exit code is 3.`,
		Example: `  sx digests | sort
  sx digests core-curl --write && git diff digests/`,
		RunE: func(c *cobra.Command, args []string) error {
			if force && !write {
				return usagef("--force goes with --write")
			}
			return a.inTree(c.Context(), nil, args, func(t *build.Tree, _ settings.Settings, refs []graph.Ref) error {
				found, err := listed(t, refs, len(args) == 0)
				if err != nil {
					return err
				}
				if !write {
					return printDigests(a, found)
				}
				return writeDigests(a, t, found, len(args) == 0, force)
			})
		},
	}
	c.Flags().BoolVar(&write, "write", false, "rewrite digests/<stage>.txt")
	c.Flags().BoolVar(&force, "force", false, "with --write: replace also what is MISMATCH or UNPROVEN")
	return c
}

// listed lists what out/ holds of refs. All says that they were not selected, so that
// what is missing is no error.
func listed(t *build.Tree, refs []graph.Ref, all bool) ([]build.Listed, error) {
	found, missing, err := t.Digests(refs)
	if err != nil {
		return nil, err
	}
	if !all && len(missing) > 0 {
		return nil, fmt.Errorf("out/ has no %s: build it first (sx build %s)", missing[0], missing[0])
	}
	if len(found) == 0 {
		return nil, errors.New("out/ holds no output of this tree: nothing to list")
	}
	return found, nil
}

func printDigests(a *app, found []build.Listed) error {
	w := bufio.NewWriter(a.stdout)
	for _, l := range found {
		fmt.Fprintf(w, "%s %s\n", l.Digest.Hex(), l.Ref)
	}
	return w.Flush()
}

// writeDigests rewrites digests/. Without selectors, what may not be listed keeps its
// line, which is told; with them it is refused.
func writeDigests(a *app, t *build.Tree, found []build.Listed, all, force bool) error {
	var refs []graph.Ref
	for _, l := range found {
		refs = append(refs, l.Ref)
	}
	j, done := newJudge(t)
	defer done()
	changed, err := t.WriteDigests(j, refs, force)
	var refused *build.RefusedError
	kept := errors.As(err, &refused) && all && len(refused.Refusals) < len(refs)
	if kept {
		for _, r := range refused.Refusals {
			fmt.Fprintf(a.stderr, "sx: %s keeps its line: %s\n", r.Ref, text.Field(r.Reason))
			refs = slices.DeleteFunc(refs, func(ref graph.Ref) bool { return ref == r.Ref })
		}
		changed, err = t.WriteDigests(j, refs, force)
	}
	if err != nil {
		return err
	}
	printLines(a, changed)
	if kept && refused.Has(build.Mismatch) {
		fmt.Fprintln(a.stderr, "sx: "+refused.Remedy)
		return codeError(exitMismatch)
	}
	return nil
}

// printLines prints what digests/ lists now, and beside it what it listed.
func printLines(a *app, changed []build.Line) {
	for _, l := range changed {
		switch {
		case l.New.IsZero():
			fmt.Fprintf(a.stderr, "sx: %s: %s dropped, the tree has no such output\n", l.Name, l.Old.Hex())
			continue
		case l.Old.IsZero():
			fmt.Fprintf(a.stderr, "sx: %s: new, %s\n", l.Name, l.New.Hex())
		default:
			fmt.Fprintf(a.stderr, "sx: %s: %s → %s\n", l.Name, l.Old.Hex(), l.New.Hex())
		}
		fmt.Fprintf(a.stdout, "%s %s\n", l.New.Hex(), l.Name)
	}
	fmt.Fprintf(a.stderr, "sx: %s of digests/ changed\n", count(len(changed), "line"))
}
