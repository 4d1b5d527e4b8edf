package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/inspect"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Limits of reading an image for a completion: one that is not in the index of files yet is
// read if it is small.
const (
	completionTime  = 2 * time.Second
	completionBytes = 64 << 20 // of its layers, compressed
)

// completeInside completes an output, and then a path in its image in out/.
func (a *app) completeInside(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeUpTo(1)(c, args, begun)
	}
	next := pathsInside(c.Context(), a, args[0], begun)
	if slices.ContainsFunc(next, func(p string) bool { return strings.HasSuffix(p, "/") }) {
		return next, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return next, cobra.ShellCompDirectiveNoFileComp
}

// plainName is a path that no shell changes. Others are not offered.
var plainName = regexp.MustCompile(`^[A-Za-z0-9/._+@%,:=-]+$`)

// pathsInside returns what may follow in a path; nothing if anything is wrong, which the
// command itself will report.
func pathsInside(ctx context.Context, a *app, output, begun string) []string {
	dir, err := a.treeDir()
	if err != nil {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(dir, "out")); err != nil { // opening the tree would make .sx
		return nil
	}
	v, _, err := a.open(ctx, nil, false)
	if err != nil {
		return nil
	}
	defer v.Close()
	ref, err := a.oneOutput(v.Graph, output)
	if err != nil {
		return nil
	}
	index, err := inspect.LoadIndex(v.Store.MemoryHome())
	if err != nil || !knowsPaths(ctx, v, index, ref) {
		return nil
	}
	return slices.DeleteFunc(index.Next(ref.String(), begun), func(p string) bool { return !plainName.MatchString(p) })
}

// knowsPaths reports whether index has the paths of an output's image, after reading one
// that is small.
func knowsPaths(ctx context.Context, v *tree.View, index *inspect.Index, ref graph.Ref) bool {
	l, err := v.Layout(v.Graph.Output(ref))
	if err != nil {
		return false
	}
	if index.Has(ref.String(), l.Digest()) {
		return true
	}
	if size, err := v.Store.Size(ref.String()); err != nil || size > completionBytes {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	digest, paths, err := imagePaths(ctx, v.Store, ref)
	if err != nil {
		return false
	}
	index.Put(ref.String(), digest, paths)
	index.Save() // else the next completion reads it again
	return true
}
