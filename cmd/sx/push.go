package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

func newPushCommand(a *app) *cobra.Command {
	var to string
	var tags []string
	c := &cobra.Command{
		Use:   "push [SELECTOR...] --to REGISTRY/NAMESPACE",
		Short: "Push outputs to a registry",
		Long: `Gives the selected outputs, or all that out/ holds, to a registry, each as
REGISTRY/NAMESPACE/<output>:<version>, with the digests that they have here and for
all platforms that they hold. All must be whole before anything is sent. Blobs that
the repository has are not sent, and those that several outputs share are sent once;
manifests come last, so that a registry never names what it lacks. A push that broke
off goes on when it is run again.

Credentials are those of docker login and podman login. Plain http is spoken on
this machine, and to registries.plain_http of your stagex.toml. Nothing is said of
who built the images: see sx verify. A line for each goes to stdout: its name and
the digest that digests/ lists.`,
		Example: `  sx push core-hex --to registry.example/stagex
  sx push --to registry.example/stagex --tag latest --tag sx2026.03.0`,
		RunE: func(c *cobra.Command, args []string) error {
			reg, err := parseTo(to, tags)
			if err != nil {
				return err
			}
			return a.inTree(c.Context(), nil, args, func(t *build.Tree, set settings.Settings, refs []graph.Ref) error {
				if len(args) == 0 {
					if refs, err = present(t, refs); err != nil {
						return err
					}
				}
				return pushRefs(c.Context(), a, t, set, refs, reg, tags)
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "registry and namespace, such as registry.example/stagex (required)")
	c.Flags().StringSliceVar(&tags, "tag", nil, "also give this tag, beside the version")
	return c
}

func parseTo(to string, tags []string) (preseed.Registry, error) {
	if to == "" {
		return preseed.Registry{}, usagef("--to is missing: name a registry and a namespace, such as --to registry.example/stagex")
	}
	reg, err := preseed.ParseRegistry(to)
	if err != nil {
		return reg, usageError{err}
	}
	for _, tag := range tags {
		if err := preseed.CheckTag(tag); err != nil {
			return reg, usageError{err}
		}
	}
	return reg, nil
}

// present keeps those of refs that out/ holds.
func present(t *build.Tree, refs []graph.Ref) ([]graph.Ref, error) {
	found, _, err := t.Digests(refs)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("out/ holds no output of this tree: nothing to push")
	}
	var there []graph.Ref
	for _, l := range found {
		there = append(there, l.Ref)
	}
	return there, nil
}

func pushRefs(ctx context.Context, a *app, t *build.Tree, set settings.Settings, refs []graph.Ref, to preseed.Registry, tags []string) error {
	return push(a, set, "image", len(refs), func(o build.PushOptions) error {
		return t.PushImages(ctx, refs, to, tags, o)
	})
}

// pushSources pushes the sources of definitions, all of which lie in fetch/.
func pushSources(ctx context.Context, a *app, t *build.Tree, set settings.Settings, definitions []*graph.Definition, repository string) error {
	return push(a, set, "definition", len(definitions), func(o build.PushOptions) error {
		return t.PushSources(ctx, definitions, repository, o)
	})
}

// pushAnswer is how long a registry may take over a large blob that it has got.
const pushAnswer = 5 * time.Minute

// push prints what a registry has now as it gets it, and a summary.
func push(a *app, set settings.Settings, what string, total int, do func(build.PushOptions) error) error {
	opts := registryClient(set)
	opts.Limits.Header, opts.Log = pushAnswer, a.logger()
	client, err := preseed.NewClient(opts)
	if err != nil {
		return usageError{err}
	}
	defer client.Close()
	var pushed, there int
	pusher := client.NewPusher(preseed.PushOptions{Retries: set.Fetch.Retries, Warn: func(said string) {
		fmt.Fprintln(a.stderr, "sx: "+text.Field(said))
	}})
	stop := heartbeat(a, func() string { return "pushing: " + text.Bytes(pusher.Sent()) + " sent" })
	err = do(build.PushOptions{Pusher: pusher, Jobs: set.Fetch.Jobs, Done: func(p build.Pushed) {
		fmt.Fprintf(a.stdout, "%s@%s\n", p.Name, p.Digest)
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
}

// heartbeatEvery keeps CI systems, which end what is silent, from doing so.
const heartbeatEvery = 20 * time.Second

// heartbeat says now and then how far a long transfer is, until it is stopped.
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
