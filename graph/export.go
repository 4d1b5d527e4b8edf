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
	Broken  []exportedBroken `json:"broken"`
}

// exportedBroken is a definition whose outputs cannot be built.
type exportedBroken struct {
	Dir     string          `json:"dir"`
	Outputs []Ref           `json:"outputs"` // that it has or may have
	Errors  []exportedError `json:"errors"`  // empty if it depends on others that are broken, only
	Because *Ref            `json:"because,omitempty"`
	Root    string          `json:"root,omitempty"` // the folder of the definition with the errors
}

type exportedError struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // from 1
	Message string `json:"message"`
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

// MarshalJSON is WriteJSON of all, compact.
func (g *Graph) MarshalJSON() ([]byte, error) { return json.Marshal(g.export(g.All(), g.broken)) }

// WriteJSON writes the outputs that refs name, and broken, as one indented object,
// {"outputs":[...],"broken":[...]}, sorted; lists are never null. A ref that is no
// output of the graph is left out.
func (g *Graph) WriteJSON(w io.Writer, refs []Ref, broken []*Broken) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(g.export(refs, broken))
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

// WriteMermaid writes what WriteDOT writes in the language of Mermaid, which forges draw
// in Markdown. Node ids are numbers, because a name such as "core-end" holds a keyword.
func (g *Graph) WriteMermaid(w io.Writer, refs []Ref) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "flowchart LR")
	for _, o := range g.named(refs) {
		fmt.Fprintf(b, "    o%d[%q]\n", o.Number(), o.Ref)
		for _, dep := range o.Inputs() {
			fmt.Fprintf(b, "    o%d --> o%d\n", o.Number(), dep.Number())
		}
	}
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

func (g *Graph) export(refs []Ref, broken []*Broken) exported {
	e := exported{Outputs: []exportedOutput{}, Broken: exportBroken(broken)}
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

func exportBroken(broken []*Broken) []exportedBroken {
	out := make([]exportedBroken, 0, len(broken))
	for _, b := range broken {
		e := exportedBroken{Dir: printable(b.Dir), Outputs: append([]Ref{}, b.Outputs...), Errors: []exportedError{}}
		for _, err := range b.Errors {
			e.Errors = append(e.Errors, exportedError{printable(err.File), err.Line, printable(shorten(err.Err.Error()))})
		}
		if b.Root != nil {
			e.Because, e.Root = &b.Because, printable(b.Root.Dir)
		}
		out = append(out, e)
	}
	return out
}
