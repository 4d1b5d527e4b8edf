package main

import (
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
			address, err := poolAddress(a, c, args)
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

// poolAddress returns the kubernetes:// address of the argument, or else of the settings.
func poolAddress(a *app, c *cobra.Command, args []string) (kubernetes.Address, error) {
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
		return kubernetes.Address{}, err
	}
	address, err := kubernetes.ParseAddress(set.Engine.Address)
	if err != nil {
		return kubernetes.Address{}, usagef("the engine %q: %w", text.Redact(set.Engine.Address), err)
	}
	return address, nil
}
