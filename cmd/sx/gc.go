package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

func newGCCommand(a *app) *cobra.Command {
	var dryRun bool
	var size string
	c := &cobra.Command{
		Use:   "gc",
		Short: "Remove what the tree has no more use for",
		Long: `Removes, and says so:

  from out/     outputs that no definition names any more
  from fetch/   sources that no definition names, and unfinished downloads of such
  of sx's own   blobs that neither an output nor an image of another registry that
                a definition names has, unfinished ones too; records, proofs and
                logs of such outputs
  the engine    the results used least lately, until its cache is small enough

Everything of outputs that the tree has is kept, also the proofs of digests they
once had. What lies in out/ and fetch/ and was put there neither by sx nor by make
is left alone and named; packages/ is never touched. While another sx works in the
tree, which may need what this checkout does not name, only the engine is trimmed;
and so it is while a definition is broken, which is exit code 2.

Killed at any moment it leaves whole outputs or none.`,
		Example: `  sx gc --dry-run
  sx gc --engine-size 20GiB
  sx gc --engine-size 0           # empty the engine's cache`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runGC(c.Context(), a, size, dryRun)
		},
	}
	c.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "say what would go, and remove nothing")
	c.Flags().StringVar(&size, "engine-size", "", "trim the engine's cache to `SIZE` (default: engine.cache_size)")
	return c
}

func runGC(ctx context.Context, a *app, size string, dryRun bool) error {
	keep, err := settings.ParseSize(size)
	if size != "" && err != nil {
		return usagef("--engine-size: %w", err)
	}
	return a.inTreeLooking(ctx, nil, nil, false, func(t *build.Tree, set settings.Settings, all selection) error {
		if size == "" {
			keep = set.Engine.CacheSize
		}
		collecting := collect
		if dryRun {
			collecting = wouldCollect
		}
		return errors.Join(collecting(ctx, a, t, set, keep), all.err())
	})
}

func wouldCollect(ctx context.Context, a *app, t *build.Tree, set settings.Settings, keep int64) error {
	waste, err := t.FindWaste()
	var freed int64
	switch {
	case isBroken(err):
		a.keepAll()
	case err != nil:
		return err
	default:
		freed = t.Frees(waste)
		printWaste(a.stdout, waste, t.Dir)
	}
	if over := t.Usage(ctx, a.embedded(t.Store, set)).Engine.Bytes - keep; over > 0 {
		fmt.Fprintf(a.stdout, "trim    the engine's cache by about %s, to %s\n", text.Bytes(over), text.Bytes(keep))
		freed += over
	}
	fmt.Fprintf(a.stdout, "%s would be freed\n", text.Bytes(freed))
	return nil
}

func collect(ctx context.Context, a *app, t *build.Tree, set settings.Settings, keep int64) error {
	waste, freed, err := t.RemoveWaste()
	switch {
	case isBroken(err):
		a.keepAll()
	case errors.Is(err, cache.ErrInUse):
		fmt.Fprintf(a.stderr, "sx: %v: only the engine's cache is trimmed; run sx gc again when it is done\n", err)
	case err != nil:
		return err
	default:
		printWaste(a.stdout, waste, t.Dir)
	}
	trimmed, err := trim(ctx, a, t, set, keep)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s freed\n", text.Bytes(freed+trimmed))
	return nil
}

func isBroken(err error) bool { return errors.As(err, new(*graph.BrokenError)) }

func (a *app) keepAll() {
	fmt.Fprintln(a.stderr, "sx: a definition is broken, and what it names is not known: nothing is removed, only the engine's cache is trimmed")
}

// trim starts the embedded engine where its cache is too large, for it alone knows
// what of that was used when.
func trim(ctx context.Context, a *app, t *build.Tree, set settings.Settings, keep int64) (int64, error) {
	freed, err := t.TrimEngine(ctx, a.embedded(t.Store, set), keep)
	if err == nil && freed > 0 {
		fmt.Fprintf(a.stdout, "trim    the engine's cache by %s\n", text.Bytes(freed))
	}
	return freed, err
}

// printWaste names outputs and sources one by one, what is only sx's in sums, and
// what stays although it is none of the tree's.
func printWaste(w io.Writer, waste build.Waste, tree string) {
	show := func(path string) string {
		if rel, err := filepath.Rel(tree, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
		return text.Field(path)
	}
	for _, path := range waste.Outputs {
		fmt.Fprintf(w, "remove  %s\n", show(path))
	}
	for _, path := range waste.Sources.Files {
		fmt.Fprintf(w, "remove  %s\n", show(path))
	}
	for _, sum := range []struct {
		n              int
		noun, whatever string
	}{
		{len(waste.Sources.Partial), "unfinished or wrong download", ""},
		{len(waste.Blobs), "blob", ", which no output has"},
		{len(waste.Notes), "file", " of records, proofs, inputs and logs"},
	} {
		if sum.n > 0 {
			fmt.Fprintf(w, "remove  %s%s\n", count(sum.n, sum.noun), sum.whatever)
		}
	}
	for _, kept := range waste.Kept {
		fmt.Fprintf(w, "keep    %s: %s\n", show(kept.Path), kept.Why)
	}
	for _, kept := range waste.Sources.Kept {
		fmt.Fprintf(w, "keep    %s: %s\n", show(kept.Path), kept.Why)
	}
}
