package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// pushFlags are what sx push and sx build --push have in common.
type pushFlags struct {
	force, moveTag bool
	tags           []string
}

func newPushCommand(a *app) *cobra.Command {
	sc := scope{required: true}
	var to registryFlag
	var pre preview
	var o pushFlags
	c := &cobra.Command{
		Use:   "push (SELECTOR... | --all) --to REGISTRY/NAMESPACE",
		Short: "Push outputs to a registry",
		Long: `Pushes the selected outputs, or with --all those in out/, to a registry, each as
REGISTRY/NAMESPACE/<output>:<version>, with its digest and all its platforms. Blobs that
the repository has are not sent again, and blobs that several outputs share are sent
once. Manifests are sent last, so that they never refer to a missing blob. To resume an
interrupted push, run it again.

It pushes outputs that are MATCH (also MATCH given unproven inputs, or on another engine),
CHANGED, UNPUBLISHED and built here, or preseeded with the digest that digests/ lists now.
If any other output is selected (MISMATCH, UNPROVEN, not up to date), nothing is sent;
with --force it is pushed and listed. Missing and damaged outputs are always refused. A
tag that names another image is refused too, unless --move-tag is given; both digests
are printed.

Credentials are those of docker login and podman login. Plain HTTP is used only for this
machine and for registries.plain_http of your stagex.toml. stdout has one line per tag:
its name and the digest in digests/. The exit code is 3 if a MISMATCH is refused, 1 if an
output is missing or damaged, 8 for other refusals.`,
		Example: `  sx push core-hex --to registry.example/stagex
  sx push --all --to registry.example/stagex --tag latest --tag sx2026.03.0 --move-tag`,
		Annotations:       codes(exitFailed, exitMismatch, exitFetch, exitMachine, exitUnproven),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(checkTo(to, o.tags), sc.check(c, args), pre.check()); err != nil {
				return err
			}
			return a.inTree(c.Context(), nil, args, func(s *session, refs []graph.Ref) error {
				var err error
				if sc.all {
					if refs, err = present(s.view, refs); err != nil {
						return err
					}
				}
				if refs, err = fitToPush(a, s.view, refs, o.force); err != nil {
					return err
				}
				if pre.dryRun {
					images, err := wouldPush(s.tree, refs, to.Registry, o.tags)
					return errors.Join(err, printNamed(a.stdout, images, pre.json))
				}
				return pushRefs(c.Context(), s, refs, to.Registry, o)
			})
		},
	}
	sc.addFlag(c)
	pre.addFlags(c, "the name and the digest of each image")
	c.Flags().Var(&to, "to", "where to push (required)")
	c.Flags().StringSliceVar(&o.tags, "tag", nil, "also push as this `TAG`, besides the version; may be repeated")
	c.Flags().BoolVar(&o.force, "force", false, "also push outputs that are MISMATCH, UNPROVEN or not up to date")
	c.Flags().BoolVar(&o.moveTag, "move-tag", false, "move tags that name other images")
	return c
}

// fitToPush returns refs if all of them may be pushed. With force it also returns those
// that may not, and lists them.
func fitToPush(a *app, v *tree.View, refs []graph.Ref, force bool) ([]graph.Ref, error) {
	j, done := panel.Own(v)
	defer done()
	fit, forced, refused := publish.Publishable(j, refs, force)
	if len(refused) > 0 {
		return nil, refusedToPush(refused)
	}
	for _, r := range forced {
		fmt.Fprintf(a.stderr, "sx: --force pushes %s: %s\n", r.Ref, text.Field(r.Reason))
	}
	return fit, nil
}

func refusedToPush(refused []publish.Refusal) *publish.RefusedError {
	e := &publish.RefusedError{Doing: "refusing to push", Refusals: refused}
	for _, r := range refused {
		if !r.Final {
			e.Remedy = "sx push --force pushes every output that is complete"
		}
	}
	return e
}

func checkTo(to registryFlag, tags []string) error {
	if !to.given() {
		return usagef("--to is missing: name a registry and a namespace, such as --to registry.example/stagex")
	}
	for _, tag := range tags {
		if err := preseed.CheckTag(tag); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// present returns the refs that out/ has. It includes damaged ones, which are refused
// later.
func present(v *tree.View, refs []graph.Ref) ([]graph.Ref, error) {
	_, missing, _ := publish.Digests(v, refs)
	if len(missing) == len(refs) {
		return nil, errors.New("out/ holds no output of this tree: nothing to push")
	}
	return slices.DeleteFunc(slices.Clone(refs), func(ref graph.Ref) bool { return slices.Contains(missing, ref) }), nil
}

// namedJSON is an image as `sx push --dry-run --json` and `sx import --dry-run --json`
// print it. It only gains fields.
type namedJSON struct {
	Ref    graph.Ref  `json:"ref"`
	Name   string     `json:"name"` // "<repository>:<tag>"
	Digest oci.Digest `json:"digest"`
}

// wouldPush lists each tag that would be pushed. It asks no registry.
func wouldPush(t *tree.Tree, refs []graph.Ref, to preseed.Registry, tags []string) ([]namedJSON, error) {
	images := []namedJSON{}
	var bad []error
	for _, ref := range refs {
		img, err := t.Image(ref)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		for _, tag := range append([]string{t.Graph.Output(ref).Tag()}, tags...) {
			images = append(images, namedJSON{ref, to.Repository(ref.String()) + ":" + tag, img.Digest()})
		}
		img.Close()
	}
	return images, errors.Join(bad...)
}

// printNamed writes a line "<name>@<digest>" for each image.
func printNamed(w io.Writer, images []namedJSON, asJSON bool) error {
	if asJSON {
		return printJSON(w, map[string]any{"images": images})
	}
	for _, i := range images {
		fmt.Fprintf(w, "%s@%s\n", i.Name, i.Digest)
	}
	return nil
}

func pushRefs(ctx context.Context, s *session, refs []graph.Ref, to preseed.Registry, f pushFlags) error {
	return push(s.app, s.set, "image", len(refs), func(o publish.PushOptions) error {
		o.MoveTags = f.moveTag
		o.Note = func(said string) { fmt.Fprintln(s.stderr, "sx: "+text.Field(said)) }
		return publish.PushImages(ctx, s.tree, refs, publish.Destination{Registry: to, Tags: f.tags}, o)
	})
}

// pushSources pushes the sources of definitions, all of which are in fetch/.
func pushSources(ctx context.Context, s *session, definitions []*graph.Definition, repository string) error {
	return push(s.app, s.set, "definition", len(definitions), func(o publish.PushOptions) error {
		return publish.PushSources(ctx, s.tree, definitions, repository, o)
	})
}

// pushAnswer is how long a registry may take to answer after it received a large blob.
const pushAnswer = 5 * time.Minute

// push calls do, prints each tag once the registry has it, and a summary.
func push(a *app, set settings.Settings, what string, total int, do func(publish.PushOptions) error) error {
	return withPusher(a, set, func(pusher *preseed.Pusher) error {
		var pushed, there int
		stop := heartbeat(a, func() string { return "pushing: " + text.Bytes(pusher.Sent()) + " sent" })
		err := do(publish.PushOptions{Pusher: pusher, Jobs: set.Fetch.Jobs, Done: func(p publish.Pushed) {
			for _, name := range p.Names {
				fmt.Fprintf(a.stdout, "%s@%s\n", name, p.Digest)
			}
			if p.Present {
				there++
			} else {
				pushed++
			}
		}})
		stop()
		fmt.Fprintf(a.stderr, "sx: %s: %d pushed (%s sent), %d there before, %d not pushed\n", count(total, what),
			pushed, text.Bytes(pusher.Sent()), there, total-pushed-there)
		return err
	})
}

// withPusher calls do with a client of the registries that images are pushed to.
func withPusher(a *app, set settings.Settings, do func(*preseed.Pusher) error) error {
	opts := registryClient(set)
	opts.Limits.Header, opts.Log = pushAnswer, a.logger()
	client, err := preseed.NewClient(opts)
	if err != nil {
		return usageError{err}
	}
	defer client.Close()
	return do(preseed.NewPusher(client, preseed.PushOptions{Retries: set.Fetch.Retries, Warn: func(said string) {
		fmt.Fprintln(a.stderr, "sx: "+text.Field(said))
	}}))
}

// heartbeatEvery is the interval between messages of a long transfer. CI systems kill
// jobs that print nothing for a while.
const heartbeatEvery = 20 * time.Second

// heartbeat prints said() at that interval until stop is called.
func heartbeat(a *app, said func() string) (stop func()) {
	ticker := time.NewTicker(heartbeatEvery)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ticker.C:
				fmt.Fprintln(a.stderr, "sx: "+said())
			case <-end:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(end); <-ended }
}
