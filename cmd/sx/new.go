package main

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/edit"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
)

type newOptions struct {
	from   string
	dryRun bool
}

func newNewCommand(a *app) *cobra.Command {
	var o newOptions
	c := &cobra.Command{
		Use:   "new STAGE/NAME",
		Short: "Make a new definition",
		Long: `Makes the folder packages/STAGE/NAME with a package.toml and a Containerfile. With --from it
is a copy of a similar definition, and builds as it is; without, it is a skeleton for a
program that is built by configure and make. sx lint lists the places to fill in, which say
TODO; then sx hash --write writes the hashes of the sources.

A folder or output that exists is refused, and nothing is replaced.`,
		Example: `  sx new user/zopfli --from core/zlib
  sx lint user/zopfli; sx hash user/zopfli --write; sx build user-zopfli`,
		Annotations: codes(exitFailed, exitDisk),
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 || strings.Contains(begun, "/") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var stages []string
			for _, stage := range graph.Stages {
				if strings.HasPrefix(stage, begun) {
					stages = append(stages, stage+"/")
				}
			}
			return stages, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want a stage and a name, such as user/zopfli; see sx new --help")
			}
			ref, err := parseNewName(args[0])
			if err != nil {
				return err
			}
			return runNew(c.Context(), a, ref, o)
		},
	}
	c.Flags().StringVar(&o.from, "from", "", "copy the definition of this `OUTPUT`")
	c.RegisterFlagCompletionFunc("from", func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return a.completeOutputs(true)(c, nil, begun)
	})
	addDryRunFlag(c, &o.dryRun)
	return c
}

// parseNewName reads "user/x", also as the path "packages/user/x" or the output "user-x".
func parseNewName(typed string) (graph.Ref, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(typed, "./"), "packages/"), "/")
	if stage, rest, ok := strings.Cut(name, "/"); ok {
		name = stage + "-" + rest
	}
	ref, err := graph.ParseRef(name)
	if err != nil {
		return ref, usageError{err}
	}
	return ref, nil
}

func runNew(ctx context.Context, a *app, ref graph.Ref, o newOptions) error {
	return a.inTreeSelecting(ctx, nil, nil, false, func(s *session, _ selection) error {
		if err := s.tree.Store.ReadOnly(); err != nil && !o.dryRun {
			return err
		}
		from := ""
		if o.from != "" {
			sel, err := a.selectRefs(s.tree.Graph, []string{o.from})
			if err != nil {
				return err
			}
			if from, err = oneDefinition(s, o.from, sel); err != nil {
				return err
			}
		}
		folder, err := editTree(s).Create(ctx, s.tree.FS, ref, from)
		if err != nil {
			return editError(err)
		}
		if !o.dryRun {
			if err := folder.Write(s.tree.Dir, s.tree.Store.Dir("tmp")); err != nil {
				return err
			}
		}
		tellNew(s, folder, ref, o)
		return nil
	})
}

// tellNew prints the files, and what to do next.
func tellNew(s *session, f *edit.Folder, ref graph.Ref, o newOptions) {
	for _, file := range f.Files {
		if file.Mode&fs.ModeDir == 0 {
			fmt.Fprintln(s.stdout, text.Field(f.Dir+"/"+file.Path))
		}
	}
	tellNotes(s, f.Notes)
	if o.dryRun {
		return
	}
	name := ref.Stage + "/" + ref.Name
	fmt.Fprintf(s.stderr, "sx: next: fill in the places that sx lint %s lists, then sx hash %s --write and sx build %s\n", name, name, ref)
}
