package graph

import (
	"slices"
)

// Graph is all that the tree's definitions say. It is immutable, and safe for
// use by many goroutines. Every edge leads to an output of the graph, and no
// chain of edges comes back to where it began.
type Graph struct {
	definitions []*Definition
	outputs     []*Output // sorted by ref
	index       map[Ref]*Output
	dependents  map[Ref][]Ref
	warnings    []string
	skipped     map[Ref]string // why there is no such output
}

func newGraph(definitions []*Definition, outputs map[Ref]*Output, warnings []string) *Graph {
	g := &Graph{
		definitions: definitions,
		index:       outputs,
		dependents:  make(map[Ref][]Ref, len(outputs)),
		warnings:    warnings,
	}
	for _, o := range outputs {
		g.outputs = append(g.outputs, o)
	}
	slices.SortFunc(g.outputs, func(a, b *Output) int { return a.Ref.Compare(b.Ref) })
	for _, o := range g.outputs {
		for _, dep := range o.Deps {
			g.dependents[dep] = append(g.dependents[dep], o.Ref)
		}
	}
	return g
}

// Outputs returns all outputs, sorted by ref.
func (g *Graph) Outputs() []*Output { return slices.Clone(g.outputs) }

// Output returns the output that r names, or nil.
func (g *Graph) Output(r Ref) *Output { return g.index[r] }

// Definitions returns all definitions, sorted by stage and name.
func (g *Graph) Definitions() []*Definition { return slices.Clone(g.definitions) }

// Warnings returns what was passed over while loading, a line each, sorted.
func (g *Graph) Warnings() []string { return slices.Clone(g.warnings) }

// All returns the refs of all outputs, sorted.
func (g *Graph) All() []Ref {
	refs := make([]Ref, len(g.outputs))
	for i, o := range g.outputs {
		refs[i] = o.Ref
	}
	return refs
}

// Dependents returns the outputs that name r directly, sorted.
func (g *Graph) Dependents(r Ref) []Ref { return slices.Clone(g.dependents[r]) }

// Closure returns refs and all that they are built from, sorted and distinct.
// A ref that is no output of the graph is left out.
func (g *Graph) Closure(refs []Ref) []Ref {
	closure := g.Order(refs)
	slices.SortFunc(closure, Ref.Compare)
	return closure
}

// Order returns the closure of refs, each output after all that it is built
// from. The order depends on the set of refs only, not on how they are given.
func (g *Graph) Order(refs []Ref) []Ref {
	sorted := slices.Clone(refs)
	slices.SortFunc(sorted, Ref.Compare)
	order := make([]Ref, 0, len(sorted))
	seen := make(map[Ref]bool, len(sorted))
	var visit func(Ref)
	visit = func(r Ref) {
		o := g.index[r]
		if o == nil || seen[r] {
			return
		}
		seen[r] = true
		for _, dep := range o.Deps {
			visit(dep)
		}
		order = append(order, r)
	}
	for _, r := range sorted {
		visit(r)
	}
	return order
}

// Skipped reports whether r would be an output of a definition, or of a stage,
// that Load passed over with a warning: there is no such output, yet.
func (g *Graph) Skipped(r Ref) bool {
	return g.skipped[r] != "" || g.skipped[Ref{Stage: r.Stage}] != ""
}
