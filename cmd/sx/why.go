package main

import (
	"bufio"
	"context"
	"fmt"
	"math/big"
	"os"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/relations"
	"codeberg.org/stagex/sx/graph"
)

// maxPaths is how many paths sx why --paths prints; the others are counted.
const maxPaths = 1000

func newWhyCommand(a *app) *cobra.Command {
	var paths, json bool
	c := &cobra.Command{
		Use:   "why OUTPUT DEPENDENCY",
		Short: "Print how an output comes to depend on another",
		Long: `Prints the shortest path of dependencies that leads from an output to another, one step
per line, with the line of the Containerfile that names the next output. --paths prints
all paths, the shortest first; if there are more than 1000, the others are counted.

It reads only the definitions: nothing needs to be built.`,
		Example: `  $ sx why core-curl core-zlib
  core-curl  packages/core/curl/Containerfile:11
  core-libssh2  packages/core/libssh2/Containerfile:8
  core-zlib

  sx why pallet-rust core-python --paths`,
		Annotations: ownWords(codes(exitFailed), map[int]string{
			exitOK: "it depends on it", exitFailed: "it does not, or sx itself failed",
		}),
		ValidArgsFunction: a.completeUpTo(2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("name two outputs: sx why core-curl core-zlib")
			}
			return runWhy(c.Context(), a, args, paths, json)
		},
	}
	c.Flags().BoolVar(&paths, "paths", false, "print all paths, not only the shortest")
	addJSONFlag(c, &json, "the paths, with files and lines, and how many there are")
	return c
}

func runWhy(ctx context.Context, a *app, args []string, all, asJSON bool) error {
	g, err := a.readGraph(ctx)
	if err != nil {
		return err
	}
	from, err := a.oneOutput(g, args[0])
	if err != nil {
		return err
	}
	to, err := a.oneOutput(g, args[1])
	if err != nil {
		return err
	}
	limit := 1
	if all {
		limit = maxPaths
	}
	found, total := relations.Paths(g, from, to, limit)
	w, err := newWhyPrinter(a, g)
	if err != nil {
		return err
	}
	defer w.root.Close()
	switch {
	case asJSON:
		err = w.json(from, to, found, total)
	default:
		err = w.text(found)
	}
	if more := total.Int64() - int64(len(found)); all && !total.IsInt64() || all && more > 0 {
		fmt.Fprintf(a.stderr, "sx: %s paths in all; the shortest %d are printed\n", total, len(found))
	}
	if err == nil && len(found) == 0 {
		fmt.Fprintln(a.stderr, "sx: "+notReached(g, from, to))
		return codeError(exitFailed)
	}
	return err
}

// notReached says that from does not depend on to, and if it is the other way round.
func notReached(g *graph.Graph, from, to graph.Ref) string {
	said := fmt.Sprintf("%s does not depend on %s", from, to)
	if back, _ := relations.Paths(g, to, from, 1); len(back) > 0 {
		said += fmt.Sprintf("; %s depends on %s: sx why %s %s", to, from, to, from)
	}
	return said
}

// whyPrinter prints paths with the lines that join their outputs.
type whyPrinter struct {
	app   *app
	graph *graph.Graph
	root  *os.Root // of the tree
	lines map[[2]graph.Ref]int
}

func newWhyPrinter(a *app, g *graph.Graph) (*whyPrinter, error) {
	dir, err := a.treeDir()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	return &whyPrinter{a, g, root, map[[2]graph.Ref]int{}}, err
}

// place returns the file and the line where an output of a path names the next one.
func (p *whyPrinter) place(path []graph.Ref, i int) (file string, line int) {
	if i == len(path)-1 {
		return "", 0
	}
	o, edge := p.graph.Output(path[i]), [2]graph.Ref{path[i], path[i+1]}
	line, known := p.lines[edge]
	if !known {
		line = relations.Line(p.root.FS(), o, path[i+1])
		p.lines[edge] = line
	}
	return o.Definition.Dir + "/Containerfile", line
}

func (p *whyPrinter) text(paths [][]graph.Ref) error {
	w := bufio.NewWriter(p.app.stdout)
	for n, path := range paths {
		if n > 0 {
			fmt.Fprintln(w)
		}
		for i, ref := range path {
			fmt.Fprint(w, ref)
			if file, line := p.place(path, i); line > 0 {
				fmt.Fprintf(w, "  %s:%d", file, line)
			} else if file != "" {
				fmt.Fprintf(w, "  %s", file)
			}
			fmt.Fprintln(w)
		}
	}
	return w.Flush()
}

// The types that sx why --json prints. They only gain fields.
type (
	whyJSON struct {
		From  graph.Ref       `json:"from"`
		To    graph.Ref       `json:"to"`
		Count *big.Int        `json:"count"` // of all paths, also those that are not in paths
		Paths [][]whyStepJSON `json:"paths"`
	}
	whyStepJSON struct {
		Ref  graph.Ref `json:"ref"`
		File string    `json:"file,omitempty"` // that names the next output
		Line int       `json:"line,omitempty"` // from 1
	}
)

func (p *whyPrinter) json(from, to graph.Ref, paths [][]graph.Ref, count *big.Int) error {
	out := whyJSON{from, to, count, [][]whyStepJSON{}}
	for _, path := range paths {
		steps := []whyStepJSON{}
		for i, ref := range path {
			file, line := p.place(path, i)
			steps = append(steps, whyStepJSON{ref, file, line})
		}
		out.Paths = append(out.Paths, steps)
	}
	return printJSON(p.app.stdout, out)
}
