package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/graph"
)

// completeOutputs completes selectors by the outputs of the tree, and never by
// names of files. One says that the command takes a single output.
func (a *app) completeOutputs(one bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if one && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		g, err := a.readGraph(c.Context())
		if err != nil { // which the command itself will say
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return outputsLike(g, args, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// outputsLike lists the outputs that begin so and are not among args.
func outputsLike(g *graph.Graph, args []string, begun string) []string {
	var like []string
	offer := func(name string) {
		if strings.HasPrefix(name, begun) && !slices.Contains(args, name) {
			like = append(like, name)
		}
	}
	for _, ref := range g.All() {
		offer(ref.String())
	}
	return like
}
