package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/relations"
	"codeberg.org/stagex/sx/graph"
)

// depsOptions are the flags of sx deps and sx rdeps.
type depsOptions struct {
	tree, json, unused bool
	depth              uint16

	next func(*graph.Graph) relations.Next
	// dependents: the answer is about the whole tree, and a broken definition makes it
	// incomplete.
	dependents bool
}

func (o *depsOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.tree, "tree", false, "print a tree; what was printed before is marked, not repeated")
	f.Uint16Var(&o.depth, "depth", 0, "go at most `N` steps; 1 is the direct ones (default: all)")
	addJSONFlag(c, &o.json, "each output with the steps that lead to it")
}

func newDepsCommand(a *app) *cobra.Command {
	o := depsOptions{next: relations.Dependencies}
	c := &cobra.Command{
		Use:   "deps SELECTOR...",
		Short: "Print what outputs are built from",
		Long: `Prints all outputs that the selected ones are built from, one per line: the direct
dependencies first, then those that are two steps away, and so on. The selected outputs
are not among them. Images of other registries, which a definition names by digest, come
last. It reads only the definitions: nothing needs to be built.

--unused finds which lines "COPY --from=stagex/…" of an output's Containerfile can go
without changing the digest of any output of that definition, and prints them: all of them
can go together. It builds the definition without each line, several at once, then without
all that were not missed, so it takes as long as some builds. The dependencies must be in
out/ and the sources in fetch/. No file is edited, nothing is recorded, out/ is not
touched, and the builds run on an engine state of their own, which is deleted.`,
		Example: `  sx deps core-curl --depth 1
  sx deps core-curl --tree
  sx deps pallet-rust --json | jq -r '.outputs[] | select(.depth == 1) | .ref'
  sx deps core-curl --unused`,
		Annotations:       codes(exitFailed, exitMachine, exitDisk),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if !o.unused {
				return runDeps(c, a, args, o)
			}
			for _, other := range []string{"tree", "depth"} {
				if err := exclusive(c, "unused", other); err != nil {
					return err
				}
			}
			return runUnused(c.Context(), a, args, o.json)
		},
	}
	o.addFlags(c)
	c.Flags().BoolVar(&o.unused, "unused", false, "print which lines COPY --from=stagex/… can go; this builds")
	return c
}

func newRdepsCommand(a *app) *cobra.Command {
	o := depsOptions{next: relations.Dependents, dependents: true}
	c := &cobra.Command{
		Use:   "rdeps SELECTOR...",
		Short: "Print which outputs are built from others",
		Long: `Prints all outputs that are built from the selected ones, one per line: the direct
dependents first, then those that are two steps away, and so on. These are the outputs
that a change of the selected ones may change.

It reads only the definitions: nothing needs to be built. If any definition of the tree
is broken, its outputs are missing from the list: it is named on stderr, and the exit
code is 2.`,
		Example: `  sx rdeps core-zlib
  sx rdeps core-zlib --depth 1
  sx rdeps core-musl --json | jq '.outputs | length'`,
		Annotations:       codes(exitFailed),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			return runDeps(c, a, args, o)
		},
	}
	o.addFlags(c)
	return c
}

// runDeps prints what the steps of o.next lead to.
func runDeps(c *cobra.Command, a *app, args []string, o depsOptions) error {
	if len(args) == 0 {
		return usagef("name an output: %s core-curl", c.CommandPath())
	}
	if err := exclusive(c, "tree", "json"); err != nil {
		return err
	}
	g, err := a.readGraph(c.Context())
	if err != nil {
		return err
	}
	sel, err := a.selectRefs(g, args)
	if err != nil {
		return err
	}
	if o.dependents {
		sel.broken = g.Broken()
	}
	if len(sel.refs) == 0 {
		return sel.err()
	}
	return errors.Join(printDeps(a.stdout, g, sel.refs, o), sel.err())
}

// depsJSON is what sx deps and sx rdeps print as JSON.
type depsJSON struct {
	Of      []graph.Ref         `json:"of"`
	Outputs []relations.Reached `json:"outputs"`
	Images  []graph.Image       `json:"images,omitempty"`
}

func printDeps(w io.Writer, g *graph.Graph, of []graph.Ref, o depsOptions) error {
	next := o.next(g)
	if o.tree {
		return relations.WriteTree(w, of, next, int(o.depth))
	}
	reached := relations.Reach(of, next, int(o.depth))
	var foreign []graph.Image
	if !o.dependents {
		foreign = g.Images(within(of, reached, int(o.depth)))
	}
	if o.json {
		return printJSON(w, depsJSON{of, append([]relations.Reached{}, reached...), foreign})
	}
	b := bufio.NewWriter(w)
	for _, r := range reached {
		fmt.Fprintln(b, r.Ref)
	}
	for _, i := range foreign {
		fmt.Fprintln(b, i.Name)
	}
	return b.Flush()
}

// within returns of and the reached outputs that are fewer than depth steps away, if depth
// is above 0: those whose images are at most depth steps away.
func within(of []graph.Ref, reached []relations.Reached, depth int) []graph.Ref {
	refs := of[:len(of):len(of)]
	for _, r := range reached {
		if depth <= 0 || r.Depth < depth {
			refs = append(refs, r.Ref)
		}
	}
	return refs
}
