package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/gpg"
	"codeberg.org/stagex/sx/cmd/internal/receipt"
)

func newKeysMachineCommand(a *app) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "new-machine",
		Short: "Make a key with which this machine signs receipts",
		Long: `Makes an ed25519 key, and a certificate for it that your gpg signs: what the key signs
counts as your word. It signs receipts (sx receipt), without you being at hand, and
nothing else: no signature of it ever counts for sx verify --signatures. It is valid for
two years. The key lies in $XDG_STATE_HOME/sx, readable by you only.`,
		Example:     "  sx keys new-machine --key 0123456789ABCDEF0123456789ABCDEF01234567",
		Annotations: codes(exitFailed, exitMachine),
		Args:        noArguments,
		RunE:        func(c *cobra.Command, _ []string) error { return runNewMachine(c.Context(), a, key) },
	}
	c.Flags().StringVar(&key, "key", "", "certify it with gpg's secret `KEY`, a fingerprint or user ID (default: the only one)")
	return c
}

// machineKeyDir is where the key of this machine lies.
func machineKeyDir() string { return filepath.Dir(keyFile()) }

func runNewMachine(ctx context.Context, a *app, key string) error {
	sign, _, err := gpgSign(ctx, a, key)
	if err != nil {
		return err
	}
	k, err := receipt.NewMachine(machineKeyDir(), sign, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, k.ID)
	return nil
}

// gpgSign returns what signs receipts and certificates with the user's gpg, and the
// fingerprint of the key.
func gpgSign(ctx context.Context, a *app, key string) (receipt.Sign, string, error) {
	programs := gpg.NewPrograms(os.Getenv, a.stderr)
	fingerprint, _, err := programs.Key(ctx, key)
	if err != nil {
		return nil, "", err
	}
	return func(pae []byte) (receipt.Signature, error) {
		sig, err := programs.SignDetached(ctx, fingerprint, pae)
		return receipt.Signature{KeyID: fingerprint, Sig: base64.StdEncoding.EncodeToString(sig)}, err
	}, fingerprint, nil
}
