package graph

import (
	"cmp"
	"path"
	"slices"
)

// Graph is what the sound definitions of a tree say, and the errors of the others. It is
// immutable and safe for concurrent use. Every edge leads to an output of the graph, and
// there are no cycles.
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

// reverse returns the direct dependents of every output.
func (g *Graph) reverse() map[Ref][]Ref {
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

// Len returns how many Outputs there are.
func (g *Graph) Len() int { return len(g.outputs) }

// Output returns the output that r names, or nil.
func (g *Graph) Output(r Ref) *Output { return g.index[r] }

// Definitions returns all definitions that are not broken, sorted by stage and name.
func (g *Graph) Definitions() []*Definition { return slices.Clone(g.definitions) }

// Warnings returns what was skipped while loading, and what upstream would not read, one
// line each.
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

// Dependents returns the direct dependents of r, sorted.
func (g *Graph) Dependents(r Ref) []Ref { return slices.Clone(g.dependents()[r]) }

// Closure returns refs and all their dependencies, sorted and distinct. It leaves out
// refs that are not outputs of the graph.
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

// Order returns the closure of refs, each output after all its dependencies. The order
// depends on the set of refs only, not on how they are given.
func (g *Graph) Order(refs []Ref) []*Output {
	sorted := slices.Clone(refs)
	slices.SortFunc(sorted, Ref.Compare)
	order := make([]*Output, 0, len(sorted))
	g.visit(sorted, make([]bool, len(g.outputs)), func(o *Output) { order = append(order, o) })
	return order
}

// visit calls leave for every output in the closure of refs that was not visited yet,
// after all its dependencies.
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

// Definition is one folder packages/<stage>/<name>. Its outputs, one or a
// family of them, are built from the same Containerfile and the same sources.
// It is shared and must not be changed.
type Definition struct {
	Stage, Name string
	Dir         string // "packages/<stage>/<name>", slashes
	Version     string // resolved through version_from; "" if it has none
	VersionFrom Ref    // the output whose version it takes; zero without version_from

	Description, License, Website string

	Platforms []string // that the definition forces; empty means the user's choice
	Sources   []Source // by key
	Outputs   []Ref    // sorted
	Images    []Image  // of other registries, by name and platform

	// UnknownKeys are the keys of package.toml that sx does not know, such as
	// "package.patches". No [Request] contains them, though they may matter.
	UnknownKeys []string

	// The bytes that were parsed, so that what is built is what was checked. Nil if a
	// [Memory] spared reading them.
	Containerfile, PackageTOML []byte

	at int // among the graph's definitions
}

// Number is the definition's place in [Graph.Definitions].
func (d *Definition) Number() int { return d.at }

// Fetch is the folder of the definition's sources, "fetch/<stage>/<name>".
func (d *Definition) Fetch() string { return "fetch/" + d.Stage + "/" + d.Name }

// Source is one file that a definition downloads.
type Source struct {
	Key     string   // in [sources.<key>]
	File    string   // name in the fetch folder, expanded
	Path    string   // "fetch/<stage>/<name>/<file>"
	Hash    Hash     //
	Mirrors []string // URLs, expanded, in the order to try

	Version string // its own; "" if it takes the definition's
	GitSHA  string
	Format  string

	// ArgFile is the value of <KEY>_SOURCE if Version is set. It may differ from
	// File: upstream expands it with the definition's {version_dash} and
	// {version_under} (src/targets.py, get_build_args).
	ArgFile string
}

// Output is what is built, tagged, pushed and listed in digests/. It is shared
// and must not be changed.
type Output struct {
	Ref        Ref
	Definition *Definition
	Version    string // the definition's
	Target     string // stage of the Containerfile; "" is the last
	Deps       []Ref  // sorted, distinct

	name string    // Ref's text
	at   int       // among the graph's outputs
	deps []*Output // Deps
}

// String is "<stage>-<name>".
func (o *Output) String() string { return o.name }

// Like reports whether a pattern of [path.Match], such as "bootstrap-*", matches the name of
// the output or of its definition.
func (o *Output) Like(pattern string) bool {
	names := []string{o.Ref.String()}
	if d := o.Definition; d != nil {
		names = append(names, d.Stage+"-"+d.Name)
	}
	for _, name := range names {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// Number is the output's place in [Graph.Outputs].
func (o *Output) Number() int { return o.at }

// Inputs returns the outputs that Deps names, in the same order. The caller must not
// change them.
func (o *Output) Inputs() []*Output { return o.deps }

// Tag is the version, or "latest".
func (o *Output) Tag() string {
	if o.Version == "" {
		return "latest"
	}
	return o.Version
}
