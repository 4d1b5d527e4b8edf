package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/gpg"
	"codeberg.org/stagex/sx/cmd/internal/receipt"
	"codeberg.org/stagex/sx/cmd/internal/signature"
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

func newKeysRevokeCommand(a *app) *cobra.Command {
	var key, into string
	c := &cobra.Command{
		Use:   "revoke-machine [MACHINE-KEY]",
		Short: "End a machine's key before its time",
		Long: `Writes a revocation of a machine key, the one of this machine if none is named, signed by
the OpenPGP key that certified it. Receipts that the key signed for you count for nothing
then, whenever they were made, for all who have the file: among the receipts that they
read, or imported once with sx keys import. The key of this machine is removed.`,
		Example: `  sx keys revoke-machine --into receipts/   # this machine's
  sx keys revoke-machine SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU --into .`,
		Annotations: codes(exitFailed, exitMachine),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one machine key is revoked at a time")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if into == "" {
				return usagef("say where the revocation goes: --into FOLDER, such as that of your receipts")
			}
			return runRevokeMachine(c.Context(), a, args, key, into)
		},
	}
	c.Flags().StringVar(&key, "key", "", "sign with gpg's secret `KEY`, a fingerprint or user ID (default: the one that certified this machine's key, or the only one)")
	c.Flags().StringVar(&into, "into", "", "write the revocation into this `FOLDER`")
	return c
}

func runRevokeMachine(ctx context.Context, a *app, args []string, key, into string) error {
	own, err := receipt.LoadMachine(machineKeyDir())
	if err != nil && (len(args) == 0 || !errors.Is(err, receipt.ErrNoMachineKey)) {
		return err
	}
	id := strings.Join(args, "")
	if id == "" {
		id = own.ID
	}
	isOwn := own != nil && own.ID == id
	if isOwn && key == "" {
		key = own.Owner
	}
	sign, fingerprint, err := gpgSign(ctx, a, key)
	if err != nil {
		return err
	}
	if isOwn && !sameOwner(fingerprint, own.Owner) {
		return usagef("the key of this machine was certified by %s, and a revocation by %s would count for nothing: leave out --key", own.Owner, fingerprint)
	}
	data, err := receipt.Revoke(id, sign, time.Now())
	if err != nil {
		return usageError{err}
	}
	name := receipt.RevocationFile(id, fingerprint)
	if err := receipt.Write(into, name, data); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s\n", filepath.Join(into, name))
	if err := keepOwn(name, data); err != nil {
		return err
	}
	if !isOwn {
		return nil
	}
	return receipt.RemoveMachine(machineKeyDir())
}

// sameOwner reports whether two fingerprints are of one key, or of keys of one person whom
// the user trusts.
func sameOwner(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	ring, _, err := loadKeyring()
	if err != nil {
		return false
	}
	x, ok := ring.Find(a)
	y, ok2 := ring.Find(b)
	return ok && ok2 && signature.SamePerson(x.Person, y.Person)
}

// keepOwn keeps a revocation that the user made, if the user trusts the key that signed it.
func keepOwn(name string, data []byte) error {
	ring, _, err := loadKeyring()
	if err != nil {
		return err
	}
	dir, err := revokedDir()
	if err != nil {
		return err
	}
	r := receipt.OpenRevocation(name, data, ring, time.Now())
	if r.Why != nil { // then its owner's receipts do not count here either
		return nil
	}
	return receipt.KeepRevocation(dir, r, data)
}

// revokedDir is where the revocations of machine keys lie that the user imported.
func revokedDir() (string, error) {
	dir, err := keysDir()
	return filepath.Join(filepath.Dir(dir), "revoked-machines"), err
}

// loadRevoked reads the keys that the user trusts, and which machine keys their owners
// revoked.
func loadRevoked() (*signature.Keyring, receipt.Revoked, error) {
	ring, _, err := loadKeyring()
	if err != nil {
		return nil, nil, err
	}
	dir, err := revokedDir()
	if err != nil {
		return nil, nil, err
	}
	revoked, err := receipt.LoadRevoked(dir, ring)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return ring, revoked, nil
}

// notRevoked refuses the key of this machine if its owner revoked it elsewhere.
func notRevoked(k *receipt.MachineKey) error {
	_, revoked, err := loadRevoked()
	if err != nil {
		return err
	}
	for _, r := range revoked {
		if r.KeyID == k.ID && sameOwner(r.Signer, k.Owner) {
			return usagef("the key of this machine was revoked on %s (%s): sx keys revoke-machine removes it, and sx keys new-machine makes another one", r.Revoked.Format(time.DateOnly), r.Name)
		}
	}
	return nil
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
