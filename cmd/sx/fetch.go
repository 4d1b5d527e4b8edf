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
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

type fetchOptions struct {
	closure, offline, verify bool
	push                     string // oci://registry/repository
}

func newFetchCommand(a *app) *cobra.Command {
	var o fetchOptions
	c := &cobra.Command{
		Use:   "fetch [SELECTOR...]",
		Short: "Download and verify sources into fetch/",
		Long: `Brings the sources of the selected outputs, or of the whole tree, into fetch/ and
verifies them. What is there is hashed, once for as long as its size and times stay
as they are, or anew with --verify; a wrong file is replaced.
Mirrors are tried in order; an interrupted download goes on where it was.
When some sources cannot be had the others are still fetched, and a table says
what each mirror answered.

--from names a registry's repository that is asked before all mirrors. A source is
the blob with its hash there, so that it cannot lie. --push fills such a repository
from fetch/: it sends the blobs that it lacks, and for each definition an artifact
that names them, so that the registry keeps them. Credentials are those of docker
login and podman login.`,
		Example: `  sx fetch                       # everything the tree needs
  sx fetch pallet-rust --closure # what building pallet-rust from source needs
  sx fetch --offline --verify    # which files are missing or wrong?
  sx fetch --push oci://registry.example/stagex/sources
  sx fetch --from oci://registry.example/stagex/sources`,
		RunE: func(c *cobra.Command, args []string) error {
			return runFetch(c.Context(), a, args, o, changedFlags(c))
		},
	}
	c.Flags().BoolVar(&o.closure, "closure", false, "also what the selected outputs are built from")
	c.Flags().BoolVar(&o.offline, "offline", false, "touch no network; list what is missing")
	c.Flags().BoolVar(&o.verify, "verify", false, "read and hash again what lies in fetch/")
	c.Flags().String("from", "", "ask `oci://REGISTRY/REPOSITORY` before the mirrors")
	c.Flags().StringVar(&o.push, "push", "", "then give the sources to `oci://REGISTRY/REPOSITORY`")
	addProgressFlag(c)
	return c
}

func runFetch(ctx context.Context, a *app, selectors []string, o fetchOptions, flags map[string]string) error {
	repository, err := o.repository()
	if err != nil {
		return err
	}
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
		err := a.withDisplay(ctx, set, flags, func(d *progress.Display) error {
			return fetchSources(ctx, a, t, set, sources, o, d)
		})
		if err != nil || o.push == "" {
			return err
		}
		return pushSources(ctx, a, t, set, definitionsOf(t.Graph, refs), repository)
	})
}

// repository is where --push goes.
func (o fetchOptions) repository() (string, error) {
	if o.push == "" {
		return "", nil
	}
	if o.offline {
		return "", usagef("--offline and --push exclude each other")
	}
	repository, err := preseed.ParseSources(o.push)
	if err != nil {
		return "", usageError{err}
	}
	return repository, nil
}

func fetchSources(ctx context.Context, a *app, t *build.Tree, set settings.Settings, sources []fetch.Source, o fetchOptions, display *progress.Display) error {
	opts, err := a.fetchSettings(set)
	if err != nil {
		return err
	}
	opts.Tree, opts.TempDir, opts.Offline = t.Dir, t.Store.Dir("partial"), o.offline
	opts.Sum, opts.Status, opts.Log = t.Store.Stats().Sum, display.Sources(), a.logger()
	if o.verify {
		opts.Sum = func(path string) ([32]byte, error) { return t.Store.Stats().Rehash(ctx, path) }
	}
	report, err := fetch.Run(ctx, sources, opts)
	display.Close()
	if display.Talks() {
		fmt.Fprintf(a.stderr, "sx: %s: %d present, %d fetched (%s), %d linked, %d missing\n", count(len(sources), "source"),
			len(report.Present), len(report.Fetched), text.Bytes(report.Bytes), len(report.Linked),
			len(sources)-len(report.Present)-len(report.Fetched)-len(report.Linked))
	}
	return err
}

// definitionsOf lists the definitions of refs that have sources, each once.
func definitionsOf(g *graph.Graph, refs []graph.Ref) []*graph.Definition {
	var out []*graph.Definition
	seen := map[*graph.Definition]bool{}
	for _, ref := range refs {
		if d := g.Output(ref).Definition; !seen[d] && len(d.Sources) > 0 {
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}

func sourcesOf(g *graph.Graph, refs []graph.Ref) []fetch.Source {
	var out []fetch.Source
	for _, d := range definitionsOf(g, refs) {
		out = append(out, build.Sources(d)...)
	}
	return out
}

// fetchSettings are the options of downloads that settings decide.
func (a *app) fetchSettings(set settings.Settings) (fetch.Options, error) {
	o := fetch.Options{
		UserAgent: userAgent(set), Jobs: set.Fetch.Jobs, PerHost: set.Fetch.PerHost,
		MaxFile: set.Fetch.MaxFile, MaxPartial: set.Fetch.MaxPartial,
		Limits: transfer.Limits{Stall: set.Fetch.Stall}, Retries: retries(set.Fetch.Retries),
	}
	if set.Fetch.From == "" {
		return o, nil
	}
	repository, err := preseed.ParseSources(set.Fetch.From)
	if err != nil {
		return o, usageError{err}
	}
	opts := registryClient(set)
	opts.Log = a.logger()
	client, err := preseed.NewClient(opts)
	if err != nil {
		return o, usageError{err}
	}
	o.First = &fetch.First{Prefix: preseed.SourcePrefix(repository), Client: client.SourceTransport()}
	return o, nil
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
	"disk-floor": "build.disk_floor", "from": "fetch.from", "jobs": "build.jobs", "memory": "build.memory", "keep-going": "build.keep_going", "platform": "build.platform", "progress": "build.progress",
	"engine": "engine.address", "tlscacert": "engine.tlscacert", "tlscert": "engine.tlscert", "tlskey": "engine.tlskey",
	"tlsservername": "engine.tlsservername", "tlsdir": "engine.tlsdir",
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
