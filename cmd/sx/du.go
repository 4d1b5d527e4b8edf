package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/space"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newDuCommand(a *app) *cobra.Command {
	var sc scope
	var json bool
	c := &cobra.Command{
		Use:   "du",
		Short: "Print how much disk the tree takes",
		Long: `Adds up the disk space of out/, fetch/ and sx's own folder. A file with several hard
links (a blob in several outputs, or also in the engine's cache) is counted once, in the
first line that it belongs to; "shared" is what a line's files add that are counted in
an earlier line. sx gc --dry-run says how much can be removed. Of engines only the
embedded one is counted.`,
		Example: `  sx du
  sx du --json | jq .engine.bytes`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.inTreeSelecting(c.Context(), nil, nil, false, func(s *session, _ selection) error {
				u := driver.DiskUsage(c.Context(), s.tree, a.embedded(s.tree.Store, s.set))
				if json {
					return printJSON(a.stdout, struct {
						driver.Usage
						Total space.Usage `json:"total"`
					}{u, u.Total()})
				}
				printUsage(a.stdout, u)
				return nil
			})
		},
	}
	sc.addFlag(c)
	addJSONFlag(c, &json, "the same, in bytes")
	return c
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, and got %q", c.CommandPath(), args[0])
	}
	return nil
}

func printUsage(w io.Writer, u driver.Usage) {
	for _, line := range []struct {
		name string
		of   space.Usage
	}{
		{"out/", u.Out},
		{"blobs that no output uses", u.Blobs},
		{"fetch/", u.Fetch},
		{"unfinished downloads", u.Partial},
		{"the engine's cache", u.Engine},
		{"records, logs and other metadata", u.Other},
		{"total, each file counted once", u.Total()},
	} {
		fmt.Fprintf(w, "%10s  %s%s\n", text.Bytes(line.of.Bytes), line.name, remarks(line.of))
	}
}

func remarks(u space.Usage) string {
	s := ""
	if u.Shared > 0 {
		s = fmt.Sprintf(" (%s more are shared)", text.Bytes(u.Shared))
	}
	if u.Unread > 0 {
		s += fmt.Sprintf(" (without %s that cannot be read)", count(u.Unread, "folder"))
	}
	return s
}
