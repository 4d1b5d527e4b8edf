package driver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Usage is what a tree takes on the disk, in the order in which it was counted:
// a file that has several names, in out/ and in the engine, say, is counted where
// it comes first.
type Usage struct {
	Out     cache.Usage `json:"out"`
	Blobs   cache.Usage `json:"blobs"` // shared ones that out/ does not have, unfinished ones
	Fetch   cache.Usage `json:"fetch"`
	Partial cache.Usage `json:"partial"` // unfinished downloads
	Engine  cache.Usage `json:"engine"`
	Other   cache.Usage `json:"other"` // of .sx: records, proofs, inputs, logs, …
}

// Total adds up.
func (u Usage) Total() cache.Usage {
	var sum cache.Usage
	for _, part := range []cache.Usage{u.Out, u.Blobs, u.Fetch, u.Partial, u.Engine, u.Other} {
		sum.Files += part.Files
		sum.Bytes += part.Bytes
		sum.Shared += part.Shared
		sum.Unread += part.Unread
	}
	return sum
}

// DiskUsage counts, which takes a look at every file. An ordinary user's embedded
// engine has files that only it can look at: then engine is asked.
func DiskUsage(ctx context.Context, t *tree.Tree, engine buildkit.Managed) (u Usage) {
	var tally cache.Tally
	u.Out = tally.Add(filepath.Join(t.Dir, "out"))
	u.Blobs = tally.Add(t.Store.Dir("blobs"))
	u.Fetch = tally.Add(filepath.Join(t.Dir, "fetch"))
	u.Partial = tally.Add(t.Store.Dir("partial"))
	u.Engine = tally.Add(t.Store.Dir("engine"))
	if u.Engine.Unread > 0 {
		if s, err := engine.Status(ctx); err == nil {
			u.Engine = cache.Usage{Files: u.Engine.Files, Bytes: s.Bytes - s.Shared, Shared: s.Shared}
		}
	}
	u.Other = tally.Rest(t.Store.Dir(), "blobs", "partial", "engine")
	return u
}

// Waste is what the tree has no more use for.
type Waste struct {
	cache.Waste
	Sources fetch.Waste
}

// FindGarbage looks for what no definition of the tree names. An output of a
// definition that was passed over with a warning counts as named. A tree without
// any definition is taken for one that is not all there. While a definition is
// broken it is not known what that names: then the error is a *graph.BrokenError.
func FindGarbage(t *tree.Tree) (w Waste, err error) {
	if broken := t.Graph.Broken(); len(broken) > 0 {
		return w, &graph.BrokenError{Broken: broken}
	}
	if len(t.Graph.All()) == 0 {
		return w, &NoDefinitionsError{t.Dir}
	}
	var sources []fetch.Source
	var images []oci.Digest
	for _, d := range t.Graph.Definitions() {
		sources = append(sources, Sources(d)...)
		for _, i := range d.Images {
			if digest, err := oci.ParseDigest(i.Digest); err == nil { // graph checked it
				images = append(images, digest)
			}
		}
	}
	if w.Waste, err = t.Store.FindWaste(func(output string) bool { return names(t, output) }, images...); err != nil {
		return w, err
	}
	w.Sources, err = fetch.FindWaste(sources, garbageOptions(t))
	w.keepSkipped(t.Graph)
	return w, err
}

// keepSkipped keeps the sources of definitions that were passed over.
func (w *Waste) keepSkipped(g *graph.Graph) {
	w.Sources.Files = slices.DeleteFunc(w.Sources.Files, func(p string) bool {
		folder := path.Dir(p)
		skipped := g.SkippedFolder(path.Base(path.Dir(folder)), path.Base(folder))
		if skipped {
			w.Sources.Kept = append(w.Sources.Kept, fetch.Kept{Path: p, Why: "its definition is skipped"})
		}
		return skipped
	})
}

// NoDefinitionsError says that a tree has no definition at all.
type NoDefinitionsError struct{ Dir string }

func (e *NoDefinitionsError) Error() string {
	return fmt.Sprintf("%q has no definition, so everything in out/ would go: check the tree out first, or remove out/ yourself", e.Dir)
}

func names(t *tree.Tree, output string) bool {
	ref, err := graph.ParseRef(output)
	return err == nil && (t.Graph.Output(ref) != nil || t.Graph.Skipped(ref) != "")
}

func garbageOptions(t *tree.Tree) fetch.Options {
	return fetch.Options{Tree: t.Dir, TempDir: t.Store.Dir("partial")}
}

// Frees is how many bytes removing it all frees.
func Frees(t *tree.Tree, w Waste) int64 {
	var tally cache.Tally
	for _, paths := range [][]string{w.Outputs, w.Blobs, w.Notes} {
		for _, path := range paths {
			tally.Add(path)
		}
	}
	for _, path := range w.Sources.Files {
		tally.Add(filepath.Join(t.Dir, path))
	}
	for _, name := range w.Sources.Partial {
		tally.Add(t.Store.Dir("partial", name))
	}
	return tally.Frees()
}

// RemoveGarbage finds and removes it, unless another sx works in the tree, which may
// need what this tree does not name any more: then the error is [cache.ErrInUse].
// Killed at any moment it leaves nothing half-removed under out/ and fetch/.
func RemoveGarbage(t *tree.Tree) (w Waste, freed int64, err error) {
	var empty func() error
	err = t.Store.Alone(func() error {
		var err error
		if w, err = FindGarbage(t); err != nil {
			return err
		}
		freed = Frees(t, w)
		empty, err = t.Store.SetAside(w.Waste)
		return errors.Join(err, fetch.RemoveWaste(w.Sources, garbageOptions(t)))
	})
	if empty != nil {
		err = errors.Join(err, empty())
	}
	return w, freed, err
}

// TrimEngine brings the embedded engine's cache below keep bytes, and returns how
// many that freed on the disk. Where it is below them anyway no engine is started.
func TrimEngine(ctx context.Context, t *tree.Tree, engine buildkit.Managed, keep int64) (freed int64, err error) {
	before := DiskUsage(ctx, t, engine).Engine
	if before.Bytes+before.Shared <= keep {
		return 0, nil
	}
	if _, err := buildkit.Trim(ctx, engine, keep); err != nil {
		return 0, err
	}
	return max(before.Bytes-DiskUsage(ctx, t, engine).Engine.Bytes, 0), nil
}
