package graph

import (
	"cmp"
	"slices"
)

// Graph is all that the tree's sound definitions say, and what is wrong with the
// others. It is immutable, and safe for use by many goroutines. Every edge leads
// to an output of the graph, and no chain of edges comes back to where it began.
type Graph struct {
	definitions []*Definition
	outputs     []*Output // sorted by ref
	index       map[Ref]*Output
	dependents  func() map[Ref][]Ref
	warnings    []string
	skipped     map[Ref]string    // why there is no such output
	links       map[string]string // by stage: a definition that is a symbolic link
	folders     map[Ref]bool      // that were passed over; without a name, the stage's
	broken      []*Broken
	brokenBy    map[Ref]*Broken // the outputs of broken
}

// turn turns all edges around.
func (g *Graph) turn() map[Ref][]Ref {
	dependents := make(map[Ref][]Ref, len(g.outputs))
	for _, o := range g.outputs {
		for _, dep := range o.Deps {
			dependents[dep] = append(dependents[dep], o.Ref)
		}
	}
	return dependents
}

// Outputs returns all outputs that are not broken, sorted by ref.
func (g *Graph) Outputs() []*Output { return slices.Clone(g.outputs) }

// Output returns the output that r names, or nil.
func (g *Graph) Output(r Ref) *Output { return g.index[r] }

// Definitions returns all that are not broken, sorted by stage and name.
func (g *Graph) Definitions() []*Definition { return slices.Clone(g.definitions) }

// Warnings returns what was passed over while loading, and what upstream would not
// read, a line each.
func (g *Graph) Warnings() []string { return slices.Clone(g.warnings) }

// All returns the refs of all outputs, sorted.
func (g *Graph) All() []Ref {
	return refsOf(g.outputs)
}

func refsOf(outputs []*Output) []Ref {
	refs := make([]Ref, len(outputs))
	for i, o := range outputs {
		refs[i] = o.Ref
	}
	return refs
}

// Dependents returns the outputs that name r directly, sorted.
func (g *Graph) Dependents(r Ref) []Ref { return slices.Clone(g.dependents()[r]) }

// Closure returns refs and all that they are built from, sorted and distinct.
// A ref that is no output of the graph is left out.
func (g *Graph) Closure(refs []Ref) []Ref {
	closure := make([]Ref, 0, len(refs))
	seen := make([]bool, len(g.outputs))
	g.visit(refs, seen, func(*Output) {})
	for i, o := range g.outputs {
		if seen[i] {
			closure = append(closure, o.Ref)
		}
	}
	return closure
}

// Order returns the closure of refs, each output after all that it is built
// from. The order depends on the set of refs only, not on how they are given.
func (g *Graph) Order(refs []Ref) []*Output {
	sorted := slices.Clone(refs)
	slices.SortFunc(sorted, Ref.Compare)
	order := make([]*Output, 0, len(sorted))
	g.visit(sorted, make([]bool, len(g.outputs)), func(o *Output) { order = append(order, o) })
	return order
}

// visit calls leave for every output in the closure of refs that was not seen yet,
// after all that it is built from.
func (g *Graph) visit(refs []Ref, seen []bool, leave func(*Output)) {
	var visit func(*Output)
	visit = func(o *Output) {
		if seen[o.at] {
			return
		}
		seen[o.at] = true
		for _, dep := range o.deps {
			visit(dep)
		}
		leave(o)
	}
	for _, r := range refs {
		if o := g.index[r]; o != nil {
			visit(o)
		}
	}
}

// Skipped says why there is no output r, "" if nothing is known: a definition or a
// stage that has it, or might have it, was passed over with a warning. What a
// symbolic link leads to might have any output of its stage.
func (g *Graph) Skipped(r Ref) string {
	return cmp.Or(g.skipped[r], g.skipped[Ref{Stage: r.Stage}], g.links[r.Stage])
}

// SkippedFolder reports whether packages/<stage>/<name>, whose sources are in the
// folder of the same name below fetch/, was passed over.
func (g *Graph) SkippedFolder(stage, name string) bool {
	return g.folders[Ref{stage, name}] || g.folders[Ref{Stage: stage}]
}
