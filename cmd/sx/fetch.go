package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

type fetchOptions struct {
	closure, offline bool
}

func newFetchCommand(a *app) *cobra.Command {
	var o fetchOptions
	c := &cobra.Command{
		Use:   "fetch [SELECTOR...]",
		Short: "Download and verify sources into fetch/",
		Long: `Brings the sources of the selected outputs, or of the whole tree, into fetch/ and
verifies them. What is there is hashed, not trusted; a wrong file is replaced.
Mirrors are tried in order; an interrupted download goes on where it was.
When some sources cannot be had the others are still fetched, and a table says
what each mirror answered.`,
		Example: `  sx fetch                       # everything the tree needs
  sx fetch pallet-rust --closure # what building pallet-rust from source needs
  sx fetch --offline             # which files are missing or wrong?`,
		RunE: func(c *cobra.Command, args []string) error {
			return runFetch(c.Context(), a, args, o, changedFlags(c))
		},
	}
	c.Flags().BoolVar(&o.closure, "closure", false, "also what the selected outputs are built from")
	c.Flags().BoolVar(&o.offline, "offline", false, "touch no network; list what is missing")
	addProgressFlag(c)
	return c
}

func runFetch(ctx context.Context, a *app, selectors []string, o fetchOptions, flags map[string]string) error {
	return a.inTree(ctx, flags, selectors, func(t *build.Tree, set settings.Settings, refs []graph.Ref) error {
		if err := t.Store.ReadOnly(); err != nil && !o.offline {
			return err
		}
		if o.closure {
			refs = t.Graph.Closure(refs)
		}
		sources := sourcesOf(t.Graph, refs)
		if len(sources) == 0 {
			fmt.Fprintln(a.stderr, "sx: the selected outputs have no sources")
			return nil
		}
		return a.withDisplay(ctx, set, flags, func(d *progress.Display) error {
			return fetchSources(ctx, a, t, set, sources, o, d)
		})
	})
}

func fetchSources(ctx context.Context, a *app, t *build.Tree, set settings.Settings, sources []fetch.Source, o fetchOptions, display *progress.Display) error {
	opts := fetchSettings(set)
	opts.Tree, opts.TempDir, opts.Offline = t.Dir, t.Store.Dir("partial"), o.offline
	opts.Sum, opts.Status, opts.Log = t.Store.Stats().Sum, display.Sources(), a.logger()
	report, err := fetch.Run(ctx, sources, opts)
	display.Close()
	if display.Talks() {
		fmt.Fprintf(a.stderr, "sx: %s: %d present, %d fetched (%s), %d linked, %d missing\n", count(len(sources), "source"),
			len(report.Present), len(report.Fetched), text.Bytes(report.Bytes), len(report.Linked),
			len(sources)-len(report.Present)-len(report.Fetched)-len(report.Linked))
	}
	return err
}

// sourcesOf lists the sources of refs, those of a family once.
func sourcesOf(g *graph.Graph, refs []graph.Ref) []fetch.Source {
	var out []fetch.Source
	seen := map[*graph.Definition]bool{}
	for _, ref := range refs {
		if d := g.Output(ref).Definition; !seen[d] {
			seen[d] = true
			out = append(out, build.Sources(d)...)
		}
	}
	return out
}

// fetchSettings are the options of downloads that settings decide.
func fetchSettings(set settings.Settings) fetch.Options {
	return fetch.Options{
		UserAgent: userAgent(set), Jobs: set.Fetch.Jobs, PerHost: set.Fetch.PerHost,
		MaxFile: set.Fetch.MaxFile, MaxPartial: set.Fetch.MaxPartial,
		Stall: set.Fetch.Stall, Retries: retries(set.Fetch.Retries),
	}
}

func userAgent(set settings.Settings) string {
	return cmp.Or(set.Fetch.UserAgent, "sx/"+sxVersion().Version)
}

// retries spells "none" as package fetch does.
func retries(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// settingOfFlag names the settings that flags stand for.
var settingOfFlag = map[string]string{
	"disk-floor": "build.disk_floor", "jobs": "build.jobs", "memory": "build.memory", "keep-going": "build.keep_going", "platform": "build.platform", "progress": "build.progress",
}

// changedFlags are the settings that the command line gives.
func changedFlags(c *cobra.Command) map[string]string {
	flags := map[string]string{}
	c.Flags().Visit(func(f *pflag.Flag) {
		if key := settingOfFlag[f.Name]; key != "" {
			flags[key] = f.Value.String()
		}
	})
	return flags
}
