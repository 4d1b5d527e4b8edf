// Package impact finds what a change of a tree touches: which definitions differ from those
// of a commit, which outputs must be built again for it, and whose published digests may
// change.
//
// An output is touched if the folder of its definition differs, or that of the definition
// whose version it takes, or if it depends on a touched output. That is an upper bound: sx
// build stops at an output whose rebuilt dependencies have their old digests. A tree's
// stagex.toml decides no byte, and counts for nothing.
//
// It refuses to read git, files or the network: the caller gives it a [Past], and the files
// of definitions.
package impact

import (
	"path"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/relations"
	"codeberg.org/stagex/sx/graph"
)

// Past is the tree at the commit to compare with.
type Past interface {
	// Differences returns the files, sorted, in which a folder of the tree differs from
	// its files now.
	Differences(dir string, files []graph.File) ([]string, error)
	// Folders returns the names of the folders in a folder of the tree that hold a file of
	// a name.
	Folders(dir, file string) ([]string, error)
	// Digests returns the published digests of a stage.
	Digests(stage string) (cache.Published, error)
}

// Kind says how a definition changed.
type Kind string

// The kinds.
const (
	Changed Kind = "changed"
	Added   Kind = "added"
	Removed Kind = "removed"
)

// Change is a definition that differs. It is printed as JSON, and only gains fields.
type Change struct {
	Definition string   `json:"definition"` // "packages/core/zlib"
	Kind       Kind     `json:"kind"`
	Files      []string `json:"files,omitempty"`  // that differ, in its folder; of a changed one
	Broken     bool     `json:"broken,omitempty"` // its outputs cannot be built now
}

// Published says what became of the line of an output in digests/.
type Published string

// What can become of a line.
const (
	Kept    Published = "kept"    // as it was: its digest may have to change
	Updated Published = "updated" // it is another one, or a new one
	None    Published = "none"    // there is none
)

// Output is an output that must be built again. It is printed as JSON, and only gains
// fields.
type Output struct {
	Ref    graph.Ref  `json:"ref"`
	Depth  int        `json:"depth"`         // steps from a definition that changed; 0: its own
	Via    *graph.Ref `json:"via,omitempty"` // the touched output of depth-1 that it depends on
	Digest Published  `json:"digest"`
	// Seconds is how long its last build here took, 0 if it was never built here.
	Seconds float64 `json:"seconds,omitempty"`
}

// Impact is what a change touches.
type Impact struct {
	Changes []Change // sorted by definition
	Outputs []Output // the nearest first
	Gone    []string // outputs that had a published digest, and have no definition now
}

// Now is the tree as it is.
type Now struct {
	Graph     *graph.Graph
	Published cache.Published
	// Files returns the files of a definition's folder, "packages/<stage>/<name>".
	Files func(dir string) ([]graph.File, error)
}

// Find compares the tree with its past.
func Find(now Now, past Past) (i Impact, err error) {
	if i.Changes, err = changes(now, past); err != nil {
		return i, err
	}
	was := cache.Published{}
	for _, stage := range graph.Stages {
		lines, err := past.Digests(stage)
		if err != nil {
			return i, err
		}
		for output, digest := range lines {
			was[output] = digest
			if ref, err := graph.ParseRef(output); err == nil && now.Graph.Output(ref) == nil && now.Graph.BrokenOutput(ref) == nil {
				i.Gone = append(i.Gone, output)
			}
		}
	}
	slices.Sort(i.Gone)
	i.Outputs = touched(now.Graph, i.Changes)
	for n := range i.Outputs {
		i.Outputs[n].Digest = published(i.Outputs[n].Ref.String(), was, now.Published)
	}
	return i, nil
}

func published(output string, was, now cache.Published) Published {
	digest, listed := now[output]
	switch {
	case !listed:
		return None
	case was[output] == digest:
		return Kept
	}
	return Updated
}

// changes lists the definitions that differ, in all stages.
func changes(now Now, past Past) (changes []Change, err error) {
	broken := map[string]bool{} // definitions, and stages that cannot be read
	dirs := map[string]bool{}
	for _, d := range now.Graph.Definitions() {
		dirs[d.Dir] = true
	}
	for _, b := range now.Graph.Broken() {
		broken[b.Dir] = true
		if strings.Count(b.Dir, "/") == 2 { // else it is a whole stage
			dirs[b.Dir] = true
		}
	}
	before := map[string]bool{}
	for _, stage := range graph.Stages {
		names, err := past.Folders("packages/"+stage, "package.toml") // without one it is no definition
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			before["packages/"+stage+"/"+name] = true
		}
	}
	for dir := range before {
		if !dirs[dir] && !broken[path.Dir(dir)] { // of a broken stage nothing is known
			changes = append(changes, Change{Definition: dir, Kind: Removed})
		}
	}
	for dir := range dirs {
		c := Change{Definition: dir, Kind: Added, Broken: broken[dir]}
		if before[dir] {
			files, err := now.Files(dir)
			if err != nil {
				return nil, err
			}
			if c.Files, err = past.Differences(dir, files); err != nil {
				return nil, err
			}
			if len(c.Files) == 0 {
				continue
			}
			c.Kind = Changed
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Definition, b.Definition) })
	return changes, nil
}

// touched lists the outputs of the definitions that differ, and their dependents.
func touched(g *graph.Graph, changes []Change) (all []Output) {
	differs := map[string]bool{}
	for _, c := range changes {
		differs[c.Definition] = true
	}
	var own []graph.Ref
	for _, o := range g.Outputs() {
		if differs[o.Definition.Dir] {
			own = append(own, o.Ref)
			all = append(all, Output{Ref: o.Ref})
		}
	}
	depth := map[graph.Ref]int{}
	for _, r := range own {
		depth[r] = 0
	}
	next := dependents(g)
	for _, r := range relations.Reach(own, next, 0) {
		depth[r.Ref] = r.Depth
		all = append(all, Output{Ref: r.Ref, Depth: r.Depth})
	}
	for n := range all {
		if all[n].Depth > 0 {
			all[n].Via = nearest(g.Output(all[n].Ref), all[n].Depth-1, depth)
		}
	}
	return all
}

// dependents steps to the direct dependents of an output, and to the outputs that take its
// version.
func dependents(g *graph.Graph) relations.Next {
	versions := map[graph.Ref][]graph.Ref{}
	for _, o := range g.Outputs() {
		if from := o.Definition.VersionFrom; from != (graph.Ref{}) {
			versions[from] = append(versions[from], o.Ref)
		}
	}
	return func(r graph.Ref) []graph.Ref { return append(g.Dependents(r), versions[r]...) }
}

// nearest returns the first output of that depth that o is made from.
func nearest(o *graph.Output, at int, depth map[graph.Ref]int) *graph.Ref {
	for _, d := range append(o.Deps[:len(o.Deps):len(o.Deps)], o.Definition.VersionFrom) {
		if n, ok := depth[d]; ok && n == at {
			return &d
		}
	}
	return nil
}
