package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/manpage"
)

func newManCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages",
		Long: `Writes a manual page for each command to DIR: sx.1, sx-build.1 and so on. They say
what --help says. The date in them is SOURCE_DATE_EPOCH, or today.`,
		Example: `  sx man ~/.local/share/man/man1
  man sx-build`,
		Annotations: codes(exitFailed),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("sx man takes one folder: sx man ~/.local/share/man/man1")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			date, err := pageDate()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			pages := manPages(c.Root(), date)
			for _, p := range pages {
				if err := writePage(filepath.Join(args[0], p.FileName()), p); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.stderr, "sx: %s in %s\n", count(len(pages), "manual page"), args[0])
			return nil
		},
	}
}

// pageDate returns the day of SOURCE_DATE_EPOCH, which is in seconds since 1970, or today.
func pageDate() (string, error) {
	now := time.Now()
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return "", usagef("SOURCE_DATE_EPOCH is %q: want a number of seconds", epoch)
		}
		now = time.Unix(seconds, 0)
	}
	return now.UTC().Format(time.DateOnly), nil
}

func writePage(path string, p manpage.Page) error {
	var text strings.Builder
	if err := p.Write(&text); err != nil {
		return err
	}
	return disk.WriteFile(path, []byte(text.String()), 0o644, filepath.Dir(path))
}

// manPages returns a page for c and for each of its commands that has a help.
func manPages(c *cobra.Command, date string) []manpage.Page {
	c.InitDefaultHelpFlag()
	p := manpage.Page{
		Name: c.CommandPath(), Summary: lowerFirst(c.Short), Date: date, Version: "sx " + sxVersion().Version,
		Usage: usageLine(c), Description: c.Long, Examples: c.Example, ExitCodes: exitItems(c),
	}
	if c.HasParent() {
		p.SeeAlso = append(p.SeeAlso, strings.ReplaceAll(c.Parent().CommandPath(), " ", "-"))
	}
	for _, g := range flagGroups(c) {
		p.Flags = append(p.Flags, manpage.Group{Heading: g.name, Items: flagItems(g)})
	}
	var below []manpage.Page
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			p.Commands = append(p.Commands, manpage.Item{Term: sub.Name(), Text: sub.Short})
			p.SeeAlso = append(p.SeeAlso, strings.ReplaceAll(sub.CommandPath(), " ", "-"))
			below = append(below, manPages(sub, date)...)
		}
	}
	return append([]manpage.Page{p}, below...)
}

// flagItems lists flags as help does: names and metavar, then what the flag is for.
func flagItems(g flagGroup) (items []manpage.Item) {
	for line := range strings.SplitSeq(strings.TrimRight(g.flags.FlagUsages(), "\n"), "\n") {
		names, usage, _ := strings.Cut(strings.TrimSpace(line), "   ")
		items = append(items, manpage.Item{Term: names, Text: strings.TrimSpace(usage)})
	}
	return items
}
