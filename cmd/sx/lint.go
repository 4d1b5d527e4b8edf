package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/lint"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

type lintOptions struct {
	scope           scope
	format          wordFlag
	level           wordFlag
	baseline, write string
}

// wordFlag is the value of a flag that takes one of some words.
type wordFlag struct {
	word, metavar string
	words         []string
}

func (f *wordFlag) String() string { return f.word }
func (f *wordFlag) Type() string   { return f.metavar }

func (f *wordFlag) Set(text string) error {
	if !slices.Contains(f.words, text) {
		last := len(f.words) - 1
		return fmt.Errorf("want %s or %s, not %.100q", strings.Join(f.words[:last], ", "), f.words[last], text)
	}
	f.word = text
	return nil
}

// addWordFlag adds a flag that takes one of some words, and completes them.
func addWordFlag(c *cobra.Command, f *wordFlag, name, usage string) {
	c.Flags().Var(f, name, usage)
	c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(f.words, cobra.ShellCompDirectiveNoFileComp))
}

func newLintCommand(a *app) *cobra.Command {
	o := lintOptions{
		format: wordFlag{"text", "FORMAT", lint.Formats},
		level:  wordFlag{"warning", "LEVEL", []string{"note", "warning", "error"}},
	}
	c := &cobra.Command{
		Use:   "lint [SELECTOR...]",
		Short: "Check definitions without building them",
		Long: `Checks the definitions of the selected outputs, or of the whole tree: Containerfiles by
BuildKit's own rules, which upstream's builds fail on, and package.toml, the use of
sources and ARGs, and dependencies by rules of sx. docs/lint.md has a section on each.

A line is "file:line: level: message [rule]". A comment "# sx lint: skip=RULE,..." in a file
silences rules in it; "# check=skip=RULE" in the first lines of a Containerfile does so for
BuildKit's. --write-baseline writes the present findings into a file, and --baseline keeps
those that are in it quiet.

Nothing is built or downloaded, and nothing of the tree is run.`,
		Example: `  sx lint user/mesa
  sx lint --format github                  # annotate a pull request
  sx lint --write-baseline lint.txt; sx lint --baseline lint.txt`,
		Annotations: ownWords(codes(exitFailed), map[int]string{
			exitOK: "nothing was found", exitUsage: "something was found, or wrong usage or settings",
		}),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(o.scope.check(c, args), exclusive(c, "baseline", "write-baseline")); err != nil {
				return err
			}
			return runLint(c.Context(), a, args, o)
		},
	}
	o.scope.addFlag(c)
	addWordFlag(c, &o.format, "format", "text, github, json or sarif")
	addWordFlag(c, &o.level, "level", "the least `LEVEL` to print: note, warning or error")
	c.Flags().StringVar(&o.baseline, "baseline", "", "leave out the findings in `FILE`")
	c.Flags().StringVar(&o.write, "write-baseline", "", "write the findings into `FILE`, and print none")
	return c
}

func runLint(ctx context.Context, a *app, args []string, o lintOptions) error {
	findings, err := lintTree(ctx, a, args)
	if err != nil {
		return err
	}
	least, err := lint.ParseLevel(o.level.word)
	if err != nil {
		return usageError{err}
	}
	findings = slices.DeleteFunc(findings, func(f lint.Finding) bool { return f.Level < least })
	if o.write != "" {
		if err := disk.WriteNamed(o.write, lint.FormatBaseline(findings), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "sx: %s in %s\n", count(len(findings), "finding"), o.write)
		return nil
	}
	known := 0
	if o.baseline != "" {
		if findings, known, err = withoutBaseline(findings, o.baseline); err != nil {
			return err
		}
	}
	if err := lint.Write(a.stdout, o.format.word, sxVersion().Version, findings); err != nil {
		return err
	}
	if o.format.word == "text" && len(findings)+known > 0 {
		said := count(len(findings), "finding")
		if known > 0 {
			said += fmt.Sprintf(", and %d of the baseline", known)
		}
		fmt.Fprintln(a.stderr, "sx: "+said)
	}
	if len(findings) > 0 {
		return codeError(exitUsage)
	}
	return nil
}

// maxBaseline is the largest baseline file, in bytes.
const maxBaseline = 16 << 20

func withoutBaseline(findings []lint.Finding, file string) ([]lint.Finding, int, error) {
	data, err := disk.ReadFile(file, maxBaseline)
	if err != nil {
		return nil, 0, usagef("--baseline: %w", err)
	}
	b, err := lint.ParseBaseline(data)
	if err != nil {
		return nil, 0, usagef("--baseline %s: %w", file, err)
	}
	fresh, known := b.Split(findings)
	return fresh, known, nil
}

// lintTree returns the findings in the selected definitions.
func lintTree(ctx context.Context, a *app, selectors []string) ([]lint.Finding, error) {
	dir, err := a.treeDir()
	if err != nil {
		return nil, err
	}
	opts := tree.Options{Log: a.logger()} // remembers nothing: the files themselves are needed
	if set, err := a.settings(dir, nil); err == nil {
		opts.Foreign = foreignImages(set)
	}
	g, err := tree.LoadGraph(ctx, dir, opts)
	if err != nil {
		return nil, definitionError(err)
	}
	sel, err := a.selectRefs(g, selectors)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return lint.Run(ctx, lint.Subject{
		Tree: root.FS(), Graph: g, Definitions: allDefinitions(g, sel.refs), Broken: sel.broken, Folders: len(selectors) == 0,
	})
}

// allDefinitions returns the definitions of refs, each once.
func allDefinitions(g *graph.Graph, refs []graph.Ref) (all []*graph.Definition) {
	seen := map[*graph.Definition]bool{}
	for _, ref := range refs {
		if d := g.Output(ref).Definition; !seen[d] {
			seen[d] = true
			all = append(all, d)
		}
	}
	return all
}
