package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/graph"
)

type graphOptions struct {
	scope              scope
	json, dot, mermaid bool
}

func newGraphCommand(a *app) *cobra.Command {
	var o graphOptions
	c := &cobra.Command{
		Use:   "graph [SELECTOR...]",
		Short: "Print which outputs depend on which",
		Long: `Prints the selected outputs and all their dependencies, or the whole tree: one line
each, "output: direct dependencies", with images of other registries last. It builds
and changes nothing.

An error in a definition breaks its outputs and their dependents, and nothing else. The
broken outputs among the selected ones are listed on stderr, with --json in "broken";
then the exit code is 2.`,
		Example: `  sx graph pallet-rust
  sx graph --json | jq -r '.outputs[] | select(.deps == []) | .ref'
  sx graph core-curl --dot | dot -Tsvg > curl.svg
  sx graph core-names --mermaid            # for a Markdown file`,
		Annotations:       codes(exitFailed),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(o.scope.check(c, args), exclusive(c, "json", "dot", "mermaid")); err != nil {
				return err
			}
			g, err := a.readGraph(c.Context())
			if err != nil {
				return err
			}
			a.warn(g)
			sel, err := a.selectRefs(g, args)
			if err != nil {
				return err
			}
			return errors.Join(printGraph(a.stdout, g, sel, o), sel.err())
		},
	}
	o.scope.addFlag(c)
	addJSONFlag(c, &o.json, "outputs, dependencies, sources")
	c.Flags().BoolVar(&o.dot, "dot", false, "print the graph in Graphviz format")
	c.Flags().BoolVar(&o.mermaid, "mermaid", false, "print the graph as a Mermaid flowchart")
	return c
}

func printGraph(w io.Writer, g *graph.Graph, sel selection, o graphOptions) error {
	refs := g.Closure(sel.refs)
	switch {
	case o.json:
		return g.WriteJSON(w, refs, sel.broken)
	case o.dot:
		return g.WriteDOT(w, refs)
	case o.mermaid:
		return g.WriteMermaid(w, refs)
	}
	b := bufio.NewWriter(w)
	for _, ref := range refs {
		fmt.Fprintf(b, "%s:", ref)
		for _, d := range g.Output(ref).Deps {
			fmt.Fprintf(b, " %s", d)
		}
		for _, i := range g.Output(ref).Definition.Images {
			fmt.Fprintf(b, " %s", i.Name)
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}
