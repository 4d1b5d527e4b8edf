package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/release"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

func newReleaseCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "release",
		Short: "Prepare a release of the tree and publish it",
		Long: `A release is the whole tree: every output is MATCH, enough people signed each digest,
and each image has its tags in the registries of release.hosts.`,
		Example: `  sx release prepare
  sx release status 2026.11.0
  sx release publish 2026.11.0 --dry-run`,
		Annotations: codes(),
		Args:        noArgs,
	}
	c.AddCommand(newReleasePrepareCommand(a), newReleaseStatusCommand(a), newReleasePublishCommand(a))
	return c
}

func newReleasePrepareCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "prepare",
		Short: "Print the next version and the commands that make the release",
		Long: `Prints the version that follows the tags of the repository (YYYY.MM.N), and the commands
to type from here to the published release. It changes nothing: sx never runs git, whose
hooks and filters would run.`,
		Example:     "  sx release prepare",
		Annotations: codes(exitFailed),
		Args:        noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := a.treeDir()
			if err != nil {
				return err
			}
			var names []string
			_, err = history.Tags(dir, func(name string) bool { names = append(names, name); return false })
			if err != nil {
				return usagef("the next version follows the tags of the repository: %w", err)
			}
			next, latest := release.Next(names, time.Now())
			after := "there is no release yet"
			if latest != (release.Version{}) {
				after = "the latest tag is " + latest.String()
			}
			fmt.Fprintf(a.stderr, "sx: the next release is %s (%s)\n", next, after)
			fmt.Fprint(a.stdout, strings.ReplaceAll(prepareCommands, "VERSION", next.String()))
			return nil
		},
	}
}

// prepareCommands lead to a release, as upstream's MAINTENANCE.md has it.
const prepareCommands = `git switch -c release/VERSION     # from an up-to-date staging
sx build --all -k                 # from source, overnight
sx digests --write && sx digests --diff
git commit -m "release: VERSION" digests
git push origin release/VERSION   # others reproduce it and sign
sx sign                           # what is MATCH, into signatures/
sx release status VERSION         # until enough people signed
git tag -s VERSION && git push origin VERSION
sx release publish VERSION --dry-run
sx release publish VERSION
`

// releaseOptions are the flags of sx release status and publish.
type releaseOptions struct {
	version    release.Version
	accept     []string
	dryRun     bool
	signatures signatureOptions
}

func (o *releaseOptions) parse(c *cobra.Command, args []string) (err error) {
	if len(args) != 1 {
		return usagef("name the release: %s 2026.03.0", c.CommandPath())
	}
	if o.version, err = release.ParseVersion(args[0]); err != nil {
		return usageError{err}
	}
	if _, err := release.ParseAccept(o.accept); err != nil {
		return usagef("--accept: %w", err)
	}
	return nil
}

func (o *releaseOptions) addFlags(c *cobra.Command) {
	c.Flags().StringSliceVar(&o.accept, "accept", nil, "also release a MATCH with these `CONDITIONS`: given, on")
	o.signatures.addFlags(c.Flags())
}

func newReleaseStatusCommand(a *app) *cobra.Command {
	var o releaseOptions
	c := &cobra.Command{
		Use:   "status VERSION",
		Short: "Print what a release still lacks",
		Long: `Prints how many outputs are MATCH, how many digests enough people signed, and how many
tags the registries of release.hosts have, with what is missing. The exit code is 0 if
the release could be published or is.`,
		Example:     "  sx release status 2026.11.0 --signatures-from ../signatures",
		Annotations: codes(exitFailed, exitMismatch, exitUnsigned, exitFetch, exitUnproven),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(c, args); err != nil {
				return err
			}
			return inWholeTree(c.Context(), a, func(s *session, refs []graph.Ref) error {
				return releaseStatus(c.Context(), s, refs, o)
			})
		},
	}
	o.addFlags(c)
	return c
}

func newReleasePublishCommand(a *app) *cobra.Command {
	var o releaseOptions
	c := &cobra.Command{
		Use:   "publish VERSION",
		Short: "Publish a release under upstream's tags",
		Long: `Pushes every output of the tree to each registry of release.hosts, a setting of yours,
under the tags sx<VERSION>, <version of the output> and latest.

First it hashes out/ and refuses unless every output is MATCH (--accept allows
"given" or "on", and lists what it lets pass) and as many people as signatures.quorum
signed each digest. Then it asks every registry which tags would move, and lists them, old
and new: latest and <version> may move, sx<VERSION> never does.

All images are complete in every registry, under sx<VERSION>, before any other tag is
set. To resume an interrupted run, type the same command again.`,
		Example: `  sx release publish 2026.11.0 --dry-run
  sx release publish 2026.11.0 --signatures-from ../signatures`,
		Annotations: codes(exitFailed, exitMismatch, exitUnsigned, exitFetch, exitUnproven),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(c, args); err != nil {
				return err
			}
			return inWholeTree(c.Context(), a, func(s *session, refs []graph.Ref) error {
				return publishRelease(c.Context(), s, refs, o)
			})
		},
	}
	o.addFlags(c)
	addDryRunFlag(c, &o.dryRun)
	return c
}

// inWholeTree calls do with all outputs of the tree, none of which may be broken, and all of
// which digests/ must list.
func inWholeTree(ctx context.Context, a *app, do func(*session, []graph.Ref) error) error {
	return a.inTreeSelecting(ctx, nil, nil, true, func(s *session, sel selection) error {
		if err := sel.err(); err != nil {
			return err
		}
		warnOfStrayDigests(a, s.tree)
		for _, l := range publish.UnknownLines(s.tree) {
			return usagef("digests/ lists %s, and the tree has no such output: sx digests --write drops the line", l.Name)
		}
		return do(s, sel.refs)
	})
}

// proveRelease checks the outputs and then the signatures of a release.
func proveRelease(ctx context.Context, s *session, refs []graph.Ref, o releaseOptions) error {
	j, done := panel.Own(s.view)
	defer done()
	vs, err := verdict.Verify(ctx, j, refs, nil)
	if err != nil {
		return err
	}
	accepted, err := release.Gate(vs, o.accept)
	if err != nil {
		return err
	}
	for _, v := range accepted {
		fmt.Fprintf(s.stderr, "sx: --accept releases %s: %s\n", v.Ref, v)
	}
	return requireOptions{required: true, signatures: o.signatures}.permit(ctx, s.tree, s.set, refs)
}

func releaseStatus(ctx context.Context, s *session, refs []graph.Ref, o releaseOptions) error {
	j, done := panel.Own(s.view)
	defer done()
	vs, err := verdict.Verify(ctx, j, refs, nil)
	if err != nil {
		return err
	}
	_, unproven := release.Gate(vs, o.accept)
	fmt.Fprintln(s.stdout, countWords(vs))
	unsigned := requireOptions{required: true, signatures: o.signatures}.permit(ctx, s.tree, s.set, refs)
	if unsigned == nil {
		fmt.Fprintf(s.stdout, "%s: signed by %d people or more\n", count(len(refs), "digest"), s.set.Signatures.Quorum)
	}
	var missing error
	if unproven == nil {
		missing = publishedTags(ctx, s, refs, o.version)
	}
	return errors.Join(unproven, unsigned, missing)
}

// publishedTags prints how many tags of a release each registry has.
func publishedTags(ctx context.Context, s *session, refs []graph.Ref, version release.Version) error {
	return withPusher(s.app, s.set, func(p *preseed.Pusher) error {
		for _, to := range releaseHosts(s.set) {
			var parts []string
			for _, d := range releaseTags(to, version) {
				there, err := publish.Tagged(ctx, s.tree, refs, d, publish.PushOptions{Pusher: p, Jobs: s.set.Fetch.Jobs})
				if err != nil {
					return err
				}
				parts = append(parts, fmt.Sprintf("%s %d of %d", tagName(d), there, len(refs)))
			}
			fmt.Fprintf(s.stdout, "%s: %s\n", to, strings.Join(parts, ", "))
		}
		return nil
	})
}

// releaseHosts are the registries of release.hosts.
func releaseHosts(set settings.Settings) (all []preseed.Registry) {
	for _, host := range set.Release.Hosts {
		if r, err := preseed.ParseRegistry(host); err == nil { // settings checked it
			all = append(all, r)
		}
	}
	return all
}

// releaseTags lists the tags of an image in a registry, in the order in which they are set:
// what belongs to the release alone, then what people use.
func releaseTags(to preseed.Registry, v release.Version) []publish.Destination {
	return []publish.Destination{
		{Registry: to, Tags: []string{v.Tag()}, NoVersion: true},
		{Registry: to},
		{Registry: to, Tags: []string{"latest"}, NoVersion: true},
	}
}

// tagName says which tag a destination of releaseTags is about.
func tagName(d publish.Destination) string {
	if !d.NoVersion {
		return "<version>"
	}
	return d.Tags[0]
}

func publishRelease(ctx context.Context, s *session, refs []graph.Ref, o releaseOptions) error {
	hosts := releaseHosts(s.set)
	if len(hosts) == 0 {
		return usagef(`where is it published? Say it in your stagex.toml: [release] hosts = "docker.io/stagex, quay.io/stagex"`)
	}
	if err := proveRelease(ctx, s, refs, o); err != nil {
		return err
	}
	if err := checkReleaseTags(ctx, s, refs, hosts, o.version); err != nil {
		return err
	}
	if o.dryRun {
		return wouldPublish(s, refs, hosts, o.version)
	}
	tags := 3 * len(hosts) * len(refs)
	return push(s.app, s.set, "tag", tags, func(po publish.PushOptions) error {
		for step := range 3 {
			po.MoveTags = step > 0
			for _, to := range hosts {
				if err := publish.PushImages(ctx, s.tree, refs, releaseTags(to, o.version)[step], po); err != nil {
					return neverMoves(err, o.version)
				}
			}
		}
		return nil
	})
}

// checkReleaseTags lists the tags that would move, and refuses to move those of the release.
func checkReleaseTags(ctx context.Context, s *session, refs []graph.Ref, hosts []preseed.Registry, v release.Version) error {
	return withPusher(s.app, s.set, func(p *preseed.Pusher) error {
		refused := &publish.RefusedError{Doing: "refusing to move tags"}
		for _, to := range hosts {
			for step, d := range releaseTags(to, v) {
				moves, err := publish.Moves(ctx, s.tree, refs, d, publish.PushOptions{Pusher: p, Jobs: s.set.Fetch.Jobs})
				if err != nil {
					return err
				}
				for _, m := range moves {
					if step == 0 {
						refused.Refusals = append(refused.Refusals, publish.Refusal{Ref: m.Ref, Reason: m.String()})
						continue
					}
					fmt.Fprintln(s.stderr, "sx: "+text.Field(m.String()))
				}
			}
		}
		if len(refused.Refusals) > 0 {
			return neverMoves(refused, v)
		}
		return nil
	})
}

// neverMoves gives the way out of a refusal to move a release's own tag.
func neverMoves(err error, v release.Version) error {
	if refused := (*publish.RefusedError)(nil); errors.As(err, &refused) {
		refused.Remedy = fmt.Sprintf("a tag %s never moves: that release is published already; sx release prepare names the next one", v.Tag())
	}
	return err
}

// wouldPublish lists each tag that publish would set.
func wouldPublish(s *session, refs []graph.Ref, hosts []preseed.Registry, v release.Version) error {
	for _, to := range hosts {
		images, err := wouldPush(s.tree, refs, to, []string{v.Tag(), "latest"})
		if err := errors.Join(err, printNamed(s.stdout, images, false)); err != nil {
			return err
		}
	}
	return nil
}
