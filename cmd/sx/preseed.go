package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

type preseedOptions struct {
	scope         scope
	preview       preview
	deps, closure bool
	require       requireOptions
}

func newPreseedCommand(a *app) *cobra.Command {
	var o preseedOptions
	c := &cobra.Command{
		Use:   "preseed [SELECTOR...]",
		Short: "Download published images into out/, by digest",
		Long: `Downloads the published images of the selected outputs, or of the whole tree, by their
digests in digests/. out/ then has the same bytes as after a build. It needs neither an
engine nor docker. Every byte is hashed, blobs in out/ are not downloaded again, and an
interrupted download is resumed.

Images come from docker.io/stagex, then quay.io/stagex, then registries.mirrors of your
stagex.toml. If a registry refuses, does not answer, or its quota is used up, the next
one is asked. Credentials are those of docker login and podman login.

A preseeded output is UNPROVEN, never MATCH, because it was built elsewhere. An output
that was built here is kept.

--require-signatures leaves out images that were signed by fewer people than
signatures.quorum, counting those whose keys you trust (sx keys): exit code 4.`,
		Example: `  sx preseed                     # the whole tree
  sx preseed pallet-rust         # one image
  sx preseed pallet-rust --deps  # what building pallet-rust reads, but not pallet-rust`,
		Annotations:       codes(exitFailed, exitUnsigned, exitFetch, exitMachine, exitDisk),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(o.scope.check(c, args), o.preview.check()); err != nil {
				return err
			}
			return runPreseed(c.Context(), a, args, o, changedFlags(c))
		},
	}
	f := c.Flags()
	o.scope.addFlag(c)
	o.preview.addFlags(c, "each image and what would be done with it")
	f.BoolVar(&o.deps, "deps", false, "the direct dependencies of the selected outputs, not the outputs")
	f.BoolVar(&o.closure, "closure", false, "also all dependencies of the selected outputs")
	o.require.addFlags(f)
	addPlatformFlag(c, "the `PLATFORM` of the images; a package's own takes precedence")
	addProgressFlag(c)
	return c
}

func runPreseed(ctx context.Context, a *app, selectors []string, o preseedOptions, flags map[string]string) error {
	switch {
	case o.deps && o.closure:
		return usagef("--deps and --closure exclude each other")
	case (o.deps || o.closure) && len(selectors) == 0:
		return usagef("--deps and --closure go with selectors")
	}
	if err := o.require.check(); err != nil {
		return err
	}
	return a.inTree(ctx, flags, selectors, func(s *session, refs []graph.Ref) error {
		switch {
		case o.closure:
			refs = s.tree.Graph.Closure(refs)
		case o.deps:
			refs = directDeps(s.tree.Graph, refs)
		}
		if len(refs) == 0 {
			fmt.Fprintln(a.stderr, "sx: the selected outputs have no dependencies: there is no image to preseed")
			return nil
		}
		refs, unsigned := o.require.permitted(ctx, s.tree, s.set, refs)
		switch {
		case len(refs) == 0:
			return unsigned
		case o.preview.dryRun:
			return errors.Join(unsigned, wouldPreseed(a.stdout, s.view, refs, o.preview.json), s.tree.UnreadError(refs))
		}
		return errors.Join(unsigned, s.withDisplay(ctx, func(d *progress.Display) error {
			return preseedRefs(ctx, s, refs, len(selectors) == 0, d)
		}), s.tree.UnreadError(refs))
	})
}

// seedJSON is an image as `sx preseed --dry-run --json` prints it. It only gains
// fields.
type seedJSON struct {
	Ref graph.Ref `json:"ref"`
	// Action is "preseed", "replace" (out/ has another image, which goes unless it was
	// built here), "skip" (digests/ has no line, or none that can be read) or "none" (present).
	Action string      `json:"action"`
	Digest *oci.Digest `json:"digest,omitempty"` // published
}

// wouldPreseed lists the published images that out/ does not have; as JSON, all images.
func wouldPreseed(w io.Writer, v *tree.View, refs []graph.Ref, asJSON bool) error {
	found, _, _ := publish.Digests(v, refs) // a damaged one is replaced
	has := map[graph.Ref]oci.Digest{}
	for _, l := range found {
		has[l.Ref] = l.Digest
	}
	images, counts := []seedJSON{}, map[string]int{}
	for _, ref := range refs {
		want, published := v.Published[ref.String()]
		got, there := has[ref]
		i := seedJSON{ref, preseedAction(want, got, published, there), orNoDigest(want)}
		images, counts[i.Action] = append(images, i), counts[i.Action]+1
	}
	if asJSON {
		return printJSON(w, map[string]any{"images": images})
	}
	for _, i := range images {
		switch i.Action {
		case "skip":
			fmt.Fprintf(w, "skip     %s: %s\n", i.Ref, text.Field(v.Unlisted(i.Ref.String())))
		case "replace":
			fmt.Fprintf(w, "replace  %s, unless it was built here: %s\n", i.Ref, i.Digest)
		case "preseed":
			fmt.Fprintf(w, "preseed  %s: %s\n", i.Ref, i.Digest)
		}
	}
	_, err := fmt.Fprintf(w, "%s: %d to preseed, %d present\n", count(len(refs), "image"), counts["preseed"], counts["none"])
	return err
}

// preseedAction returns the Action of a seedJSON.
func preseedAction(want, got oci.Digest, published, there bool) string {
	switch {
	case !published:
		return "skip"
	case there && got == want:
		return "none"
	case there:
		return "replace"
	}
	return "preseed"
}

// directDeps returns the direct dependencies of refs, each once, sorted.
func directDeps(g *graph.Graph, refs []graph.Ref) []graph.Ref {
	var deps []graph.Ref
	for _, ref := range refs {
		deps = append(deps, g.Output(ref).Deps...)
	}
	slices.SortFunc(deps, graph.Ref.Compare)
	return slices.Compact(deps)
}

// preseedRefs fails if digests/ has no line for one of refs. With all, refs are the whole
// tree, and such outputs are only listed.
func preseedRefs(ctx context.Context, s *session, refs []graph.Ref, all bool, display *progress.Display) error {
	j, done := panel.Own(s.view)
	defer done()
	opts := preseedSettings(s.set)
	opts.Status = display.Images()
	report, err := driver.Preseed(ctx, s.tree, refs, driver.PreseedOptions{Platforms: s.set.Build.Platforms, Preseed: opts, Judge: j})
	display.Close()
	if report == nil {
		return err
	}
	if display.Talks() {
		printPreseeded(s.stderr, report, all)
	}
	if err == nil && !all && len(report.Unpublished) > 0 {
		return &unpublishedError{report.Unpublished}
	}
	return err
}

// unpublishedError means that selected outputs have no published image.
type unpublishedError struct{ refs []graph.Ref }

func (e *unpublishedError) Error() string {
	return fmt.Sprintf("digests/ has no line for %s: there is no published image of %s; build it (sx build %s)",
		names(e.refs), cmp.Or(map[bool]string{true: "it"}[len(e.refs) == 1], "them"), e.refs[0])
}

// printPreseeded writes what the display, which shows the counts, does not.
func printPreseeded(w io.Writer, r *driver.PreseedReport, all bool) {
	if all && len(r.Unpublished) > 0 {
		fmt.Fprintf(w, "sx: digests/ has no line for %s\n", names(r.Unpublished))
	}
	if len(r.Changed) > 0 {
		fmt.Fprintf(w, "sx: the definitions of %s, or of their dependencies, changed since digests/ did: a build will not use their published images\n", names(r.Changed))
	}
	for _, host := range slices.Sorted(maps.Keys(r.Quotas)) {
		fmt.Fprintf(w, "sx: %s: %s\n", text.Field(host), r.Quotas[host])
	}
}

// names lists the first refs and counts the rest.
func names(refs []graph.Ref) string {
	var said []string
	for _, ref := range refs[:min(len(refs), skippedNames)] {
		said = append(said, ref.String())
	}
	s := strings.Join(said, ", ")
	if more := len(refs) - len(said); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// preseedSettings returns the options of package preseed that come from settings.
func preseedSettings(set settings.Settings) preseed.Options {
	o := preseed.Options{Client: registryClient(set), Retries: retries(set.Fetch.Retries)}
	for _, host := range set.Registries.Hosts {
		o.Registries = append(o.Registries, preseed.Registry{Host: host, Namespace: set.Registries.Namespace})
	}
	for _, name := range set.Registries.Mirrors {
		if r, err := preseed.ParseRegistry(name); err == nil { // settings checked it
			o.Registries = append(o.Registries, r)
		}
	}
	return o
}

// registryClient returns the options of registry clients that come from settings.
func registryClient(set settings.Settings) preseed.ClientOptions {
	return preseed.ClientOptions{
		PlainHTTP: set.Registries.PlainHTTP, CAFile: set.Registries.CAFile, PerHost: set.Registries.PerHost,
		UserAgent: userAgent(set), Limits: transfer.Limits{Stall: set.Fetch.Stall},
	}
}
