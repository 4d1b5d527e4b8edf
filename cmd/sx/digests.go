package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/graph"
)

func newDigestsCommand(a *app) *cobra.Command {
	var write bool
	c := &cobra.Command{
		Use:   "digests [SELECTOR...]",
		Short: "Print or record the digests of what is in out/",
		Long: `Prints a line "<digest> <output>" for each selected output in out/, as digests/
lists them.

--write replaces the lines of the selected outputs in digests/ (without
selectors: of all that this machine built), keeps all others and drops outputs
that the tree no longer has, unless a definition is broken, which might have them.
Then the exit code is 2. It refuses what was not built here, is not up to
date, or is of another platform, and then writes nothing.`,
		Example: `  sx digests | sort
  sx digests core-curl --write && git diff digests/`,
		RunE: func(c *cobra.Command, args []string) error {
			return runDigests(c.Context(), a, args, write)
		},
	}
	c.Flags().BoolVar(&write, "write", false, "rewrite digests/<stage>.txt")
	return c
}

func runDigests(ctx context.Context, a *app, selectors []string, write bool) error {
	return a.inTree(ctx, nil, selectors, func(t *build.Tree, _ settings.Settings, refs []graph.Ref) error {
		return digestsOf(a, t, refs, len(selectors) == 0, write)
	})
}

// digestsOf lists or records what out/ holds of refs. All says that nobody
// selected them, so that what is missing is no error.
func digestsOf(a *app, t *build.Tree, refs []graph.Ref, all, write bool) error {
	found, missing, err := t.Digests(refs)
	if err != nil {
		return err
	}
	if !all && len(missing) > 0 {
		return fmt.Errorf("out/ has no %s: build it first (sx build %s)", missing[0], missing[0])
	}
	if len(found) == 0 {
		return errors.New("out/ holds no output of this tree: nothing to list")
	}
	if !write {
		return printDigests(a, found)
	}
	return writeDigests(a, t, found, all)
}

func printDigests(a *app, found []build.Listed) error {
	w := bufio.NewWriter(a.stdout)
	for _, l := range found {
		fmt.Fprintf(w, "%s %s\n", l.Digest.Hex(), l.Ref)
	}
	return w.Flush()
}

// writeDigests rewrites digests/. Without selectors, what was not built here is
// left as it is listed and said; with them it is refused.
func writeDigests(a *app, t *build.Tree, found []build.Listed, all bool) error {
	var refs []graph.Ref
	for _, l := range found {
		refs = append(refs, l.Ref)
	}
	changed, err := t.WriteDigests(refs)
	var refused *build.RefusedError
	if all && errors.As(err, &refused) && len(refused.Refusals) < len(refs) {
		skip := map[graph.Ref]bool{}
		for _, r := range refused.Refusals {
			skip[r.Ref] = true
			fmt.Fprintf(a.stderr, "sx: %s keeps its line: %s\n", r.Ref, r.Reason)
		}
		var rest []graph.Ref
		for _, ref := range refs {
			if !skip[ref] {
				rest = append(rest, ref)
			}
		}
		changed, err = t.WriteDigests(rest)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "sx: %s of digests/ changed\n", count(len(changed), "line"))
	return printDigests(a, changed)
}
