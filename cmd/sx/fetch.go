package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

type fetchOptions struct {
	scope                    scope
	preview                  preview
	closure, offline, verify bool
	from, push               sourcesFlag
}

func newFetchCommand(a *app) *cobra.Command {
	var o fetchOptions
	c := &cobra.Command{
		Use:   "fetch [SELECTOR...]",
		Short: "Download and verify sources into fetch/",
		Long: `Downloads the sources of the selected outputs, or of the whole tree, into fetch/. Files
that are present are hashed, and hashed again if their size or times change, or with
--verify; a file with a wrong hash is replaced. Mirrors are tried in order, and an
interrupted download is resumed. If some sources cannot be fetched, the others are, and
a table lists the answer of each mirror.

--from names a repository of a registry to ask before all mirrors: a source is the blob
with its hash there. --push fills such a repository from fetch/: it sends the blobs that
the repository lacks and, for each definition, an artifact that refers to them, so that
the registry keeps them. Credentials are those of docker login and podman login.`,
		Example: `  sx fetch                       # everything the tree needs
  sx fetch pallet-rust --closure # what building pallet-rust from source needs
  sx fetch --offline --verify    # which files are missing or wrong?
  sx fetch --push registry.example/stagex/sources
  sx fetch --from registry.example/stagex/sources`,
		Annotations:       codes(exitFailed, exitFetch, exitMachine, exitDisk),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(o.scope.check(c, args), o.preview.check()); err != nil {
				return err
			}
			return runFetch(c.Context(), a, args, o, changedFlags(c))
		},
	}
	o.scope.addFlag(c)
	o.preview.addFlags(c, "each source and whether it is present")
	c.Flags().BoolVar(&o.closure, "closure", false, "also the sources of all dependencies")
	c.Flags().BoolVar(&o.offline, "offline", false, "download nothing; fail with a list of missing sources")
	c.Flags().BoolVar(&o.verify, "verify", false, "hash all files in fetch/ again")
	c.Flags().Var(&o.from, "from", "ask this repository before the mirrors")
	c.Flags().Var(&o.push, "push", "then push the sources to this repository")
	addProgressFlag(c)
	return c
}

func runFetch(ctx context.Context, a *app, selectors []string, o fetchOptions, flags map[string]string) error {
	repository, err := o.repository()
	if err != nil {
		return err
	}
	return a.inTree(ctx, flags, selectors, func(s *session, refs []graph.Ref) error {
		if err := s.tree.Store.ReadOnly(); err != nil && !o.offline && !o.preview.dryRun {
			return err
		}
		if o.closure {
			refs = s.tree.Graph.Closure(refs)
		}
		sources := sourcesOf(s.tree.Graph, refs)
		if len(sources) == 0 {
			fmt.Fprintln(a.stderr, "sx: the selected outputs have no sources")
			return nil
		}
		if o.preview.dryRun {
			return wouldFetch(a.stdout, s.tree, sources, o.preview.json)
		}
		err := s.withDisplay(ctx, func(d *progress.Display) error {
			return fetchSources(ctx, s, sources, o, d)
		})
		if err != nil || o.push == "" {
			return err
		}
		return pushSources(ctx, s, definitionsOf(s.tree.Graph, refs), repository)
	})
}

// repository returns the repository of --push, "" without it.
func (o fetchOptions) repository() (string, error) {
	if o.push == "" {
		return "", nil
	}
	if o.offline {
		return "", usagef("--offline and --push exclude each other")
	}
	repository, err := preseed.ParseSources(string(o.push))
	if err != nil {
		return "", usageError{err}
	}
	return repository, nil
}

func fetchSources(ctx context.Context, s *session, sources []fetch.Source, o fetchOptions, display *progress.Display) error {
	opts, err := fetchSettings(s.app, s.set)
	if err != nil {
		return err
	}
	opts.Tree, opts.TempDir, opts.Offline = s.tree.Dir, s.tree.Store.Dir("partial"), o.offline
	opts.Sum, opts.Status, opts.Log = s.tree.Store.Stats().Sum, display.Sources(), s.logger()
	if o.verify {
		opts.Sum = func(path string) ([32]byte, error) { return s.tree.Store.Stats().Rehash(ctx, path) }
	}
	_, err = fetch.Run(ctx, sources, opts)
	return err
}

// sourceJSON is a source as `sx fetch --dry-run --json` prints it. It only gains
// fields.
type sourceJSON struct {
	Source  string `json:"source"` // "<definition>: <key in package.toml>"
	Path    string `json:"path"`   // below the tree
	Sha256  string `json:"sha256"`
	Present bool   `json:"present"`
}

// wouldFetch lists the sources whose file is missing or has another hash; as JSON, all.
func wouldFetch(w io.Writer, t *tree.Tree, sources []fetch.Source, asJSON bool) error {
	missing, all, lines := 0, []sourceJSON{}, w
	if asJSON {
		lines = io.Discard
	}
	for _, s := range sources {
		sum, err := t.Store.Stats().Sum(filepath.Join(t.Dir, filepath.FromSlash(s.Path)))
		present := err == nil && sum == s.Hash
		all = append(all, sourceJSON{s.Name, s.Path, hex.EncodeToString(s.Hash[:]), present})
		if !present {
			missing++
			fmt.Fprintf(lines, "fetch  %s\n", text.Field(s.Path))
		}
	}
	if asJSON {
		return printJSON(w, map[string]any{"sources": all})
	}
	_, err := fmt.Fprintf(w, "%s: %d to fetch, %d present\n", count(len(sources), "source"), missing, len(sources)-missing)
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
		out = append(out, driver.Sources(d)...)
	}
	return out
}

// fetchSettings returns the download options that come from settings.
func fetchSettings(a *app, set settings.Settings) (fetch.Options, error) {
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

// retries converts the setting to the option of package fetch, whose 0 is a default and
// whose -1 means none.
func retries(n int) int {
	if n == 0 {
		return -1
	}
	return n
}
