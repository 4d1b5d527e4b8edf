package graph

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// exported is what `sx graph --json` prints. It only ever gains fields.
type exported struct {
	Outputs []exportedOutput `json:"outputs"`
}

type exportedOutput struct {
	Ref       Ref              `json:"ref"`
	Stage     string           `json:"stage"`
	Name      string           `json:"name"`
	Origin    string           `json:"origin"`
	Version   string           `json:"version"`
	Platforms []string         `json:"platforms"`
	Deps      []Ref            `json:"deps"`
	Sources   []exportedSource `json:"sources"`
	Images    []Image          `json:"images"` // of other registries
}

type exportedSource struct {
	Key     string   `json:"key"`
	File    string   `json:"file"`
	Path    string   `json:"path"`
	SHA256  Hash     `json:"sha256"`
	Mirrors []string `json:"mirrors"`
}

// MarshalJSON is WriteJSON of all outputs, compact.
func (g *Graph) MarshalJSON() ([]byte, error) { return json.Marshal(g.export(g.All())) }

// WriteJSON writes the outputs that refs name as one indented object,
// {"outputs":[...]}, sorted by ref; lists are never null. A ref that is no
// output of the graph is left out.
func (g *Graph) WriteJSON(w io.Writer, refs []Ref) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(g.export(refs))
}

// WriteDOT writes the outputs that refs name, and the edges from them, in the
// language of Graphviz; an arrow points to what is needed.
func (g *Graph) WriteDOT(w io.Writer, refs []Ref) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "digraph stagex {")
	for _, o := range g.named(refs) {
		fmt.Fprintf(b, "\t%q;\n", o.Ref)
		for _, dep := range o.Deps {
			fmt.Fprintf(b, "\t%q -> %q;\n", o.Ref, dep)
		}
	}
	fmt.Fprintln(b, "}")
	return b.Flush()
}

// named returns the outputs of refs, sorted and distinct.
func (g *Graph) named(refs []Ref) []*Output {
	sorted := slices.Clone(refs)
	slices.SortFunc(sorted, Ref.Compare)
	outputs := make([]*Output, 0, len(sorted))
	for _, r := range slices.Compact(sorted) {
		if o := g.index[r]; o != nil {
			outputs = append(outputs, o)
		}
	}
	return outputs
}

func (g *Graph) export(refs []Ref) exported {
	e := exported{Outputs: []exportedOutput{}}
	for _, o := range g.named(refs) {
		e.Outputs = append(e.Outputs, exportedOutput{
			Ref:       o.Ref,
			Stage:     o.Ref.Stage,
			Name:      o.Ref.Name,
			Origin:    o.Definition.Name,
			Version:   o.Version,
			Platforms: append([]string{}, o.Definition.Platforms...),
			Deps:      append([]Ref{}, o.Deps...),
			Sources:   exportSources(o.Definition.Sources),
			Images:    append([]Image{}, o.Definition.Images...),
		})
	}
	return e
}

func exportSources(sources []Source) []exportedSource {
	out := make([]exportedSource, 0, len(sources))
	for _, s := range sources {
		out = append(out, exportedSource{
			Key:     s.Key,
			File:    s.File,
			Path:    s.Path,
			SHA256:  s.Hash,
			Mirrors: append([]string{}, s.Mirrors...),
		})
	}
	return out
}
