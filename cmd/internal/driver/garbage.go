package driver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cache/space"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// Usage is what a tree takes on the disk, in the order in which it is counted: a file with
// several hard links, in out/ and in the engine, say, counts where it comes first.
type Usage struct {
	Out     space.Usage `json:"out"`
	Blobs   space.Usage `json:"blobs"` // shared ones that out/ does not have, unfinished ones
	Fetch   space.Usage `json:"fetch"`
	Partial space.Usage `json:"partial"` // unfinished downloads
	Engine  space.Usage `json:"engine"`
	Other   space.Usage `json:"other"` // of .sx: records, proofs, inputs, logs, …
}

// Total returns the sum of all parts.
func (u Usage) Total() space.Usage {
	var sum space.Usage
	for _, part := range []space.Usage{u.Out, u.Blobs, u.Fetch, u.Partial, u.Engine, u.Other} {
		sum.Files += part.Files
		sum.Bytes += part.Bytes
		sum.Shared += part.Shared
		sum.Unread += part.Unread
	}
	return sum
}

// DiskUsage stats every file of the tree and of .sx. Without root the embedded engine has
// files that only the engine can see: then DiskUsage asks it.
func DiskUsage(ctx context.Context, t *tree.Tree, engine buildkit.Managed) (u Usage) {
	var tally space.Tally
	u.Out = tally.Add(filepath.Join(t.Dir, "out"))
	u.Blobs = tally.Add(t.Store.Dir("blobs"))
	u.Fetch = tally.Add(filepath.Join(t.Dir, "fetch"))
	u.Partial = tally.Add(t.Store.Dir("partial"))
	u.Engine = tally.Add(t.Store.Dir("engine"))
	if u.Engine.Unread > 0 {
		if s, err := engine.Status(ctx); err == nil {
			u.Engine = space.Usage{Files: u.Engine.Files, Bytes: s.Bytes - s.Shared, Shared: s.Shared}
		}
	}
	u.Other = tally.Rest(t.Store.Dir(), "blobs", "partial", "engine")
	return u
}

// Garbage is what the tree does not need any more.
type Garbage struct {
	space.Garbage
	Sources fetch.Garbage
}

// FindGarbage lists what no definition of the tree names. An output of a definition that
// was skipped with a warning counts as named. A tree without any definition is probably
// incomplete: the error is a *NoDefinitionsError. While a definition is broken, what it
// names is not known: the error is a *graph.BrokenError.
func FindGarbage(t *tree.Tree) (g Garbage, err error) {
	if broken := t.Graph.Broken(); len(broken) > 0 {
		return g, &graph.BrokenError{Broken: broken}
	}
	if len(t.Graph.All()) == 0 {
		return g, &NoDefinitionsError{t.Dir}
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
	if g.Garbage, err = space.Find(t.Store, func(output string) bool { return isNamed(t, output) }, images...); err != nil {
		return g, err
	}
	g.Sources, err = fetch.FindGarbage(sources, garbageOptions(t))
	g.keepSkipped(t.Graph)
	return g, err
}

// keepSkipped keeps the sources of definitions that were skipped.
func (g *Garbage) keepSkipped(defs *graph.Graph) {
	g.Sources.Files = slices.DeleteFunc(g.Sources.Files, func(p string) bool {
		folder := path.Dir(p)
		skipped := defs.SkippedFolder(path.Base(path.Dir(folder)), path.Base(folder))
		if skipped {
			g.Sources.Kept = append(g.Sources.Kept, fetch.Kept{Path: p, Why: "its definition is skipped"})
		}
		return skipped
	})
}

// NoDefinitionsError says that a tree has no definition at all.
type NoDefinitionsError struct{ Dir string }

func (e *NoDefinitionsError) Error() string {
	return fmt.Sprintf("%q has no definition, so everything in out/ would go: check the tree out first, or remove out/ yourself", e.Dir)
}

// isNamed reports whether the tree has an output of that name, or skipped its definition.
func isNamed(t *tree.Tree, output string) bool {
	ref, err := graph.ParseRef(output)
	return err == nil && (t.Graph.Output(ref) != nil || t.Graph.Skipped(ref) != "")
}

func garbageOptions(t *tree.Tree) fetch.Options {
	return fetch.Options{Tree: t.Dir, TempDir: t.Store.Dir("partial")}
}

// Frees returns how many bytes removing g frees.
func Frees(t *tree.Tree, g Garbage) int64 {
	var tally space.Tally
	for _, paths := range [][]string{g.Outputs, g.Blobs, g.Metadata} {
		for _, path := range paths {
			tally.Add(path)
		}
	}
	for _, path := range g.Sources.Files {
		tally.Add(filepath.Join(t.Dir, path))
	}
	for _, name := range g.Sources.Partial {
		tally.Add(t.Store.Dir("partial", name))
	}
	return tally.Frees()
}

// RemoveGarbage finds and removes garbage. If another sx works in the tree, which may need
// what the tree does not name any more, nothing is removed and the error is
// [cache.ErrInUse]. A kill leaves nothing half-removed under out/ and fetch/.
func RemoveGarbage(t *tree.Tree) (g Garbage, freed int64, err error) {
	var empty func() error
	err = t.Store.Alone(func() error {
		var err error
		if g, err = FindGarbage(t); err != nil {
			return err
		}
		freed = Frees(t, g)
		empty, err = space.Quarantine(t.Store, g.Garbage)
		return errors.Join(err, fetch.RemoveGarbage(g.Sources, garbageOptions(t)))
	})
	if empty != nil {
		err = errors.Join(err, empty())
	}
	return g, freed, err
}

// TrimEngine brings the embedded engine's cache below keep bytes, and returns how many
// bytes that freed on the disk. If the cache is below them already, no engine is started.
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
