package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/edit"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

type updateOptions struct {
	dryRun, json bool
	source       string
}

func newUpdateCommand(a *app) *cobra.Command {
	var o updateOptions
	c := &cobra.Command{
		Use:   "update OUTPUT VERSION",
		Short: "Write another version and its hashes into package.toml",
		Long: `Writes VERSION into the package.toml of an output, downloads the sources whose mirrors or
file change with it, and writes their hashes; also those of definitions that take their
version from this one (version_from). Comments, order and layout of the files stay.

Sources with a version of their own stay; --source updates one of them instead. Warnings
name the lines to check by hand: a source or Containerfile that has the old version as
text, a git_sha. All mirrors are asked, as by sx hash. If anything fails, nothing is written.

The sources are put into fetch/. --dry-run downloads them, but keeps nothing.`,
		Example: `  sx update core-zlib 1.3.2
  sx update core-zlib 1.3.2 -n             # the lines that would change
  sx update core-tools 1.3.0 --source ln   # a source with its own version`,
		Annotations: codes(exitFailed, exitFetch, exitMachine, exitDisk),
		ValidArgsFunction: func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			return a.completeOutputs(true)(c, args, begun)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("want an output and a version; see sx update --help")
			}
			return runUpdate(c.Context(), a, args, o, changedFlags(c))
		},
	}
	addDryRunFlag(c, &o.dryRun)
	c.Flags().StringVar(&o.source, "source", "", "update the version of the source with this `KEY`: sources.KEY")
	c.RegisterFlagCompletionFunc("source", completeSources(a))
	addJSONFlag(c, &o.json, "each source with its hash, size and mirrors, and each change")
	addProgressFlag(c)
	return c
}

func runUpdate(ctx context.Context, a *app, args []string, o updateOptions, flags map[string]string) error {
	return editOne(ctx, a, flags, args[0], func(s *session, dir string) error {
		if err := s.tree.Store.ReadOnly(); err != nil && !o.dryRun {
			return err
		}
		e, err := editTree(s).Update(ctx, dir, args[1], o.source)
		var same *edit.SameError
		if errors.As(err, &same) {
			fmt.Fprintf(s.stderr, "sx: %s; sx hash %s checks its hashes\n", text.Field(same.Error()), strings.TrimPrefix(dir, "packages/"))
			if o.json {
				return printJSON(s.stdout, newEditJSON(&edit.Edit{}, nil, nil, false))
			}
			return nil
		}
		if err != nil {
			return err
		}
		learnt, err := learn(ctx, s, e, !o.dryRun)
		if err != nil {
			return fmt.Errorf("%w\nnothing is written", err)
		}
		files, err := e.Finish(ctx)
		if err == nil && !o.dryRun {
			err = writeEdits(s, files)
		}
		if err != nil {
			return err
		}
		tellLearnt(s, learnt)
		tellNotes(s, e.Notes)
		if len(e.Followers) > 0 {
			fmt.Fprintf(s.stderr, "sx: %s: the same version\n", text.Field(strings.Join(e.Followers, ", ")))
		}
		if o.json {
			return printJSON(s.stdout, newEditJSON(e, learnt, files, !o.dryRun))
		}
		printChanges(s, files)
		return nil
	})
}
