package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit/kubernetes"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

func newEngineManifestCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "manifest [ENGINE]",
		Short: "Print the pods of a kubernetes:// engine as YAML",
		Long: `Prints the StatefulSet and the PodDisruptionBudget that sx makes of a kubernetes://
address, for kubectl apply or to read them. sx uses pods that were made so as its own.
All of them run until "sx engine down". It does not ask the cluster.`,
		Example: `  sx engine manifest 'kubernetes://builds/sx?replicas=4&storage=200Gi' > sx.yaml
  kubectl apply -f sx.yaml`,
		Args: oneEngine,
		RunE: func(c *cobra.Command, args []string) error {
			at, err := poolAddress(a, c, args)
			if err != nil {
				return err
			}
			address, err := parsePool(at)
			if err != nil {
				return err
			}
			manifest, err := address.Manifest()
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(manifest)
			return err
		},
	}
}

// oneEngine accepts at most one argument.
func oneEngine(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one engine, not %d", c.CommandPath(), len(args))
	}
	return nil
}

// pool returns the pods at a kubernetes:// address. They are scaled down when the command
// has ended.
func (a *app) pool(at string, talk talker) (*kubernetes.Pool, error) {
	address, err := parsePool(at)
	if err != nil {
		return nil, err
	}
	p := kubernetes.NewPool(address)
	p.Waiting, p.Log = talk.Waiting, a.logger()
	a.atEnd(p.Release)
	return p, nil
}

func parsePool(at string) (kubernetes.Address, error) {
	address, err := kubernetes.ParseAddress(at)
	if err != nil {
		return kubernetes.Address{}, usagef("the engine %q: %w", text.Redact(at), err)
	}
	return address, nil
}

// poolAddress returns the kubernetes:// address of the argument, a name or an address, or
// else of the settings.
func poolAddress(a *app, c *cobra.Command, args []string) (string, error) {
	flags := changedFlags(c)
	if len(args) == 1 {
		flags["engine.address"] = args[0]
	}
	dir, err := a.treeDir()
	if err != nil {
		dir = "" // a cluster is the same for every tree
	}
	set, err := a.settings(dir, flags)
	if err != nil {
		return "", err
	}
	_, chosen := set.Selected()
	if len(chosen) != 1 {
		return "", usagef("this works on one engine at a time, and %d are set: name one", len(chosen))
	}
	return chosen[0].Address, nil
}

func newEngineUpCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "up [ENGINE]",
		Short: "Start all pods of a kubernetes:// engine and keep them",
		Long: `Makes the StatefulSet of a kubernetes:// address if it is missing, scales it up to
"replicas" and waits until every pod is ready. Then they stay until "sx engine down". A
build does not need it: it starts the pods that it can use, and ends them.`,
		Example: `  sx engine up 'kubernetes://builds/sx?replicas=4'
  sx engine up pods     # [engines.pods] of the user's stagex.toml`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        oneEngine,
		RunE: func(c *cobra.Command, args []string) error {
			return withPool(a, c, args, func(p *kubernetes.Pool) error {
				if err := p.Up(c.Context()); err != nil {
					return err
				}
				return printHeadline(a, c, p)
			})
		},
	}
}

func newEngineDownCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "down [ENGINE]",
		Short: "End all pods of a kubernetes:// engine",
		Long: `Scales the StatefulSet of a kubernetes:// address to zero and waits until its pods have
ended. Volumes and their caches stay ("sx engine clean" removes them). While another sx
builds on the pods, that is an error (exit code 1), unless --force is given.`,
		Example:     `  sx engine down 'kubernetes://builds/sx'`,
		Annotations: codes(exitFailed, exitMachine),
		Args:        oneEngine,
		RunE: func(c *cobra.Command, args []string) error {
			return withPool(a, c, args, func(p *kubernetes.Pool) error {
				if err := busy(p.Stop(c.Context(), force)); err != nil {
					return err
				}
				return printHeadline(a, c, p)
			})
		},
	}
	addForceFlag(c, &force)
	return c
}

func withPool(a *app, c *cobra.Command, args []string, do func(*kubernetes.Pool) error) error {
	at, err := poolAddress(a, c, args)
	if err != nil {
		return err
	}
	p, err := a.pool(at, plainTalk{a.stderr})
	if err != nil {
		return err
	}
	return do(p)
}

// printHeadline prints where the pods are and how many there are.
func printHeadline(a *app, c *cobra.Command, p *kubernetes.Pool) error {
	s, err := p.Status(c.Context())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, text.Field(s.Place))
	return err
}
