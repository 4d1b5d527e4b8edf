package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/edit"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

type hashOptions struct {
	write, json bool
	sources     []string
}

func newHashCommand(a *app) *cobra.Command {
	var o hashOptions
	c := &cobra.Command{
		Use:   "hash OUTPUT",
		Short: "Download sources and print their hashes for package.toml",
		Long: `Downloads the sources of an output's definition from their mirrors, ignoring the hashes in
package.toml, and prints their hashes in its format. All mirrors are asked; those that
answer must send the same bytes. A file of the wrong kind, such as a web page instead of a
.tar.gz, is refused.

--write writes the hashes into package.toml, also where one is missing or empty, keeps the
rest of its text, and puts the files into fetch/. Without it nothing is kept.

A downloaded hash proves nothing: compare it with the one that the authors publish.`,
		Example: `  sx hash core-zlib
  sx hash user/x --write                 # after writing package.toml by hand
  sx hash core/tools --source ln --write`,
		Annotations:       codes(exitFailed, exitFetch, exitMachine, exitDisk),
		ValidArgsFunction: a.completeOutputs(true),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one output; see sx hash --help")
			}
			return runHash(c.Context(), a, args[0], o, changedFlags(c))
		},
	}
	f := c.Flags()
	f.BoolVar(&o.write, "write", false, "write the hashes into package.toml, and the files into fetch/")
	f.StringSliceVar(&o.sources, "source", nil, "only the sources with these `KEYS`, comma-separated: sources.KEY")
	c.RegisterFlagCompletionFunc("source", completeSources(a))
	addJSONFlag(c, &o.json, "each source with its hash, size and mirrors, and each change")
	addProgressFlag(c)
	return c
}

func runHash(ctx context.Context, a *app, selector string, o hashOptions, flags map[string]string) error {
	return editOne(ctx, a, flags, selector, func(s *session, dir string) error {
		if err := s.tree.Store.ReadOnly(); err != nil && o.write {
			return err
		}
		e, err := editTree(s).Hashes(ctx, dir, o.sources)
		if err != nil {
			return err
		}
		learnt, err := learn(ctx, s, e, o.write)
		if err != nil {
			return err
		}
		files, err := e.Finish(ctx)
		if err == nil && o.write {
			err = writeEdits(s, files)
		}
		if err != nil {
			return err
		}
		tellLearnt(s, learnt)
		if o.json {
			return printJSON(s.stdout, newEditJSON(e, learnt, files, o.write))
		}
		printHashes(s, e)
		tellDifferent(s, e, files, o.write)
		return nil
	})
}

// printHashes prints TOML that package.toml can have as it is.
func printHashes(s *session, e *edit.Edit) {
	for _, source := range e.Sources {
		fmt.Fprintf(s.stdout, "[sources.%s]\nhash = %q\n", text.Field(source.Key), source.Hash.String())
	}
}

func tellDifferent(s *session, e *edit.Edit, files []edit.File, written bool) {
	different := 0
	for _, source := range e.Sources {
		if source.Was != source.Hash.String() {
			different++
		}
	}
	switch {
	case written && len(files) > 0:
		fmt.Fprintf(s.stderr, "sx: %s in %s changed\n", count(different, "line"), files[0].Path)
	case different > 0:
		fmt.Fprintf(s.stderr, "sx: %d of %s: another hash than in package.toml; --write writes it\n", different, count(len(e.Sources), "source"))
	default:
		fmt.Fprintf(s.stderr, "sx: %s: as in package.toml\n", count(len(e.Sources), "source"))
	}
}
