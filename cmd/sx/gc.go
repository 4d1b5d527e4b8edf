package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

func newGCCommand(a *app) *cobra.Command {
	var sc scope
	var dryRun, json bool
	var size string
	c := &cobra.Command{
		Use:   "gc",
		Short: "Remove files that the tree no longer uses",
		Long: `Removes, and prints what it removed:

  from out/     outputs that no definition names any more
  from fetch/   sources that no definition names any more, and their unfinished downloads
  from .sx/     blobs that no output uses, and no image of another registry that a
                definition names; records, proofs and logs of outputs that the tree does
                not have, and their results that engines did not agree on (--on-each)
  the engine    the least recently used results, until its cache is small enough

Everything that belongs to an output of the tree is kept, including proofs of digests
that it once had, and everything that a skipped definition (a symbolic link, a folder
without package.toml) might have. Files in out/ and fetch/ that neither sx nor make
created are kept and listed; packages/ is never touched. While another sx works in the
tree, or if a definition is broken (exit code 2), only the engine's cache is trimmed. If
gc is killed, every output is either complete or gone.`,
		Example: `  sx gc --dry-run
  sx gc --engine-size 20GiB
  sx gc --engine-size 0           # empty the engine's cache`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runGC(c.Context(), a, size, dryRun, json)
		},
	}
	sc.addFlag(c)
	addDryRunFlag(c, &dryRun)
	addJSONFlag(c, &json, "removed and kept files, and freed bytes")
	c.Flags().StringVar(&size, "engine-size", "", "trim the engine's cache to `SIZE` (default: engine.cache_size)")
	return c
}

func runGC(ctx context.Context, a *app, size string, dryRun, asJSON bool) error {
	keep, err := settings.ParseSize(size)
	if size != "" && err != nil {
		return usagef("--engine-size: %w", err)
	}
	return a.inTreeSelecting(ctx, nil, nil, false, func(s *session, all selection) error {
		if size == "" {
			keep = s.set.Engine.CacheSize
		}
		act := collect
		if dryRun {
			act = wouldCollect
		}
		c, err := act(ctx, a, s.tree, s.set, keep)
		if err != nil {
			return errors.Join(err, all.err())
		}
		if asJSON {
			return errors.Join(printJSON(a.stdout, c.json(s.tree.Dir)), all.err())
		}
		printCollected(a.stdout, c, s.tree.Dir, dryRun)
		return all.err()
	})
}

// collected is what sx gc removed, or would remove.
type collected struct {
	garbage driver.Garbage
	trimmed int64 // of the engine's cache, in bytes
	freed   int64 // in all
	keep    int64 // what the engine's cache is trimmed to
}

// json is what --json prints. It only gains fields.
func (c collected) json(tree string) map[string]any {
	kept := []map[string]string{}
	for _, k := range c.garbage.Kept {
		kept = append(kept, map[string]string{"path": below(tree, k.Path), "why": k.Why})
	}
	for _, k := range c.garbage.Sources.Kept {
		kept = append(kept, map[string]string{"path": below(tree, k.Path), "why": k.Why})
	}
	removed := []string{}
	for _, path := range slices.Concat(c.garbage.Outputs, c.garbage.Sources.Files) {
		removed = append(removed, below(tree, path))
	}
	return map[string]any{
		"removed": removed, "kept": kept, "downloads": len(c.garbage.Sources.Partial), "blobs": len(c.garbage.Blobs),
		"metadata": len(c.garbage.Metadata), "trimmed": c.trimmed, "freed": c.freed,
	}
}

func printCollected(w io.Writer, c collected, tree string, dryRun bool) {
	printGarbage(w, c.garbage, tree)
	if c.trimmed > 0 && dryRun {
		fmt.Fprintf(w, "trim    the engine's cache by about %s, to %s\n", text.Bytes(c.trimmed), text.Bytes(c.keep))
	} else if c.trimmed > 0 {
		fmt.Fprintf(w, "trim    the engine's cache by %s\n", text.Bytes(c.trimmed))
	}
	happened := "freed"
	if dryRun {
		happened = "would be freed"
	}
	fmt.Fprintf(w, "%s %s\n", text.Bytes(c.freed), happened)
}

// below returns path relative to the tree if it is in it, else path.
func below(tree, path string) string {
	if rel, err := filepath.Rel(tree, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func wouldCollect(ctx context.Context, a *app, t *tree.Tree, set settings.Settings, keep int64) (collected, error) {
	garbage, err := driver.FindGarbage(t)
	c := collected{garbage: garbage, keep: keep}
	switch {
	case isBroken(err):
		keepAll(a)
	case err != nil:
		return c, err
	default:
		c.freed = driver.Frees(t, garbage)
	}
	c.trimmed = max(0, driver.DiskUsage(ctx, t, a.embedded(t.Store, set)).Engine.Bytes-keep)
	c.freed += c.trimmed
	return c, nil
}

// collect removes garbage. If the cache of the embedded engine is too large it starts
// the engine, which alone knows when each result was last used.
func collect(ctx context.Context, a *app, t *tree.Tree, set settings.Settings, keep int64) (collected, error) {
	garbage, freed, err := driver.RemoveGarbage(t)
	switch {
	case isBroken(err):
		keepAll(a)
		garbage, freed, err = driver.Garbage{}, 0, nil
	case errors.Is(err, cache.ErrInUse):
		fmt.Fprintf(a.stderr, "sx: %v: only the engine's cache is trimmed; run sx gc again later\n", err)
		garbage, freed, err = driver.Garbage{}, 0, nil
	}
	if err != nil {
		return collected{}, err
	}
	trimmed, err := driver.TrimEngine(ctx, t, a.embedded(t.Store, set), keep)
	return collected{garbage, trimmed, freed + trimmed, keep}, err
}

func isBroken(err error) bool { return errors.As(err, new(*graph.BrokenError)) }

func keepAll(a *app) {
	fmt.Fprintln(a.stderr, "sx: a definition is broken, so it is not known what it uses: nothing is removed, only the engine's cache is trimmed")
}

// printGarbage lists outputs and sources one by one, counts sx's own files, and lists the
// files that are kept although the tree does not use them.
func printGarbage(w io.Writer, garbage driver.Garbage, tree string) {
	show := func(path string) string { return text.Field(below(tree, path)) }
	for _, path := range garbage.Outputs {
		fmt.Fprintf(w, "remove  %s\n", show(path))
	}
	for _, path := range garbage.Sources.Files {
		fmt.Fprintf(w, "remove  %s\n", show(path))
	}
	for _, sum := range []struct {
		n              int
		noun, whatever string
	}{
		{len(garbage.Sources.Partial), "unfinished or wrong download", ""},
		{len(garbage.Blobs), "blob", " that no output uses"},
		{len(garbage.Metadata), "file", " of records, proofs, inputs and logs"},
	} {
		if sum.n > 0 {
			fmt.Fprintf(w, "remove  %s%s\n", count(sum.n, sum.noun), sum.whatever)
		}
	}
	for _, kept := range garbage.Kept {
		fmt.Fprintf(w, "keep    %s: %s\n", show(kept.Path), kept.Why)
	}
	for _, kept := range garbage.Sources.Kept {
		fmt.Fprintf(w, "keep    %s: %s\n", show(kept.Path), kept.Why)
	}
}
