package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/receipt"
	"codeberg.org/stagex/sx/cmd/internal/reproduce"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

func newReceiptCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "receipt",
		Short: "Say to others what was reproduced here, and read what they say",
		Long: `A receipt says what a build gave: an in-toto statement with a SLSA provenance, in a DSSE
envelope that you signed, or this machine for you (sx keys new-machine). It names no
host, user or path. Receipts of many people are added up by sx reproduce --merge.`,
		Example: "  sx receipt export --all --into receipts",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			writeHelp(a.stderr, c)
			return usagef("no command given")
		},
		SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(newReceiptExportCommand(a), newReceiptShowCommand(a), newReceiptVerifyCommand(a))
	return c
}

type receiptExportOptions struct {
	scope     scope
	into, key string
}

func newReceiptExportCommand(a *app) *cobra.Command {
	o := receiptExportOptions{scope: scope{required: true}}
	c := &cobra.Command{
		Use:   "export [SELECTOR...]",
		Short: "Sign receipts of what sx reproduce built here",
		Long: `Writes a receipt of each selected output that sx reproduce has built here from the tree's
current definitions, also if its digest is not the published one. It is signed with the key of
this machine if there is one (sx keys new-machine), else with your gpg; --key always takes
gpg. A receipt that is there already is not made again.

With --into oci://HOST/NAMESPACE receipts are pushed to a registry, each as a referrer of
its output's published image HOST/NAMESPACE/<output>, which must be there and stays as it
is; a registry without a referrers API gets the fallback tag.`,
		Example: `  sx receipt export --all --into ../receipts
  sx receipt export core-curl --into . --key ann@example.org
  sx receipt export --all --into oci://registry.example.org/stagex`,
		Annotations:       ownWords(codes(exitFailed, exitFetch, exitMachine, exitUnproven), map[int]string{exitUnproven: "a selected output was not reproduced here"}),
		ValidArgsFunction: a.completeOutputs(false),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.scope.check(c, args); err != nil {
				return err
			}
			if o.into == "" {
				return usagef("say where the receipts go: --into FOLDER, or --into oci://HOST/NAMESPACE")
			}
			return a.inTree(c.Context(), nil, args, func(s *session, refs []graph.Ref) error { return exportReceipts(c.Context(), s, refs, o) })
		},
	}
	o.scope.addFlag(c)
	c.Flags().StringVar(&o.into, "into", "", "the `PLACE` for the receipts: a folder, or oci://HOST/NAMESPACE")
	c.Flags().StringVar(&o.key, "key", "", "sign with gpg's secret `KEY`, a fingerprint or user ID, instead of the machine's")
	return c
}

// receiptSigner returns what signs receipts, and the ID of its key.
func receiptSigner(ctx context.Context, a *app, key string) (receipt.Sign, string, error) {
	if key == "" {
		switch k, err := receipt.LoadMachine(machineKeyDir()); {
		case err == nil:
			return k.Sign, k.ID, notRevoked(k)
		case !errors.Is(err, receipt.ErrNoMachineKey):
			return nil, "", err
		}
	}
	return gpgSign(ctx, a, key)
}

func exportReceipts(ctx context.Context, s *session, refs []graph.Ref, o receiptExportOptions) error {
	sign, id, err := receiptSigner(ctx, s.app, o.key)
	if err != nil {
		return err
	}
	to, err := receiptPlaceAt(s, o.into)
	if err != nil {
		return err
	}
	defer to.close()
	records, err := reproducedRecords(s, refs)
	if err != nil {
		return err
	}
	written, there, missing := 0, 0, 0
	for _, ref := range refs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found, ok := records[ref]
		if !ok {
			missing++
			fmt.Fprintf(s.stderr, "sx: not exported: %s was not reproduced here from the tree's current definitions: sx reproduce %s\n", ref, ref)
			continue
		}
		statement, err := receipt.New(s.tree.Graph.Output(ref), found)
		if err != nil {
			return err
		}
		wrote, err := to.put(ctx, statement, id, func() ([]byte, error) { return receipt.Seal(statement, sign) })
		if err != nil {
			return fmt.Errorf("%s: %w; run the same command again to resume", ref, err)
		}
		if wrote {
			written++
		} else {
			there++
		}
	}
	fmt.Fprintf(s.stderr, "sx: %s written into %s, %d there already, %d not reproduced\n", count(written, "receipt"), text.Field(o.into), there, missing)
	if missing > 0 {
		return codeError(exitUnproven)
	}
	return nil
}

// reproducedRecords finds the records of builds that sx reproduce made, of the outputs
// that have any: from published images, else from the seed.
func reproducedRecords(s *session, refs []graph.Ref) (map[graph.Ref]cache.Record, error) {
	records := map[graph.Ref]cache.Record{}
	for _, fromSeed := range []bool{false, true} {
		area, err := reproduceArea(s, fromSeed)
		if err != nil {
			return nil, err
		}
		v := area.Tree.Look()
		for _, ref := range refs {
			o := s.tree.Graph.Output(ref)
			if _, ok := records[ref]; ok {
				continue
			}
			if rec, why := driver.Reproduced(v, o, o.Platforms(nil)); why == "" {
				records[ref] = rec
			}
		}
		if err := area.Close(); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func newReceiptShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show FILE|FOLDER...",
		Short: "Print what receipts say, and who signed them",
		Long: `Prints each receipt of the files and folders: what was built, from what, and whose word
that is by the keys that you trust (sx keys). It needs no tree and no engine.`,
		Example:     "  sx receipt show receipts/",
		Annotations: codes(exitFailed),
		Args:        someReceipts,
		RunE: func(c *cobra.Command, args []string) error {
			receipts, err := readReceipts(a, args)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.stdout, receiptsJSON(receipts, nil))
			}
			for _, r := range receipts {
				r.Print(a.stdout)
			}
			return nil
		},
	}
	addJSONFlag(c, &asJSON, "each receipt, with its statement")
	return c
}

func newReceiptVerifyCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify FILE|FOLDER...",
		Short: "Check receipts: who signed them, and whether they are about this tree",
		Long: `Prints for each receipt of the files and folders whether it counts: whether a key that
you trust signed it (sx keys), and whether it is about the definitions, sources and
published images of the tree. The exit code is 0 only if each of them counts.`,
		Example:     "  sx receipt verify receipts/",
		Annotations: ownWords(codes(exitFailed, exitUnproven), map[int]string{exitUnproven: "a receipt does not count"}),
		Args:        someReceipts,
		RunE: func(c *cobra.Command, args []string) error {
			receipts, err := readReceipts(a, args)
			if err != nil {
				return err
			}
			return a.inTree(c.Context(), nil, nil, func(s *session, refs []graph.Ref) error {
				return verifyReceipts(s, refs, receipts, asJSON)
			})
		},
	}
	addJSONFlag(c, &asJSON, "each receipt, with its statement")
	return c
}

func someReceipts(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("no receipt is named: name files or folders")
	}
	return nil
}

// readReceipts reads the receipts of files and folders. What a revoked machine key signed is
// nobody's word.
func readReceipts(a *app, paths []string) ([]receipt.Receipt, error) {
	ring, revoked, err := loadRevoked()
	if err != nil {
		return nil, err
	}
	all := &readSoFar{ring: ring, revoked: revoked}
	for _, path := range paths {
		if err := all.read(path); err != nil {
			return nil, err
		}
	}
	return all.struck(a), nil
}

// readSoFar are receipts and revocations of several places.
type readSoFar struct {
	ring     *signature.Keyring
	receipts []receipt.Receipt
	revoked  receipt.Revoked
}

// read adds those of a file or folder.
func (all *readSoFar) read(path string) error {
	receipts, revoked, err := receipt.Read(path, all.ring, time.Now())
	all.receipts, all.revoked = append(all.receipts, receipts...), append(all.revoked, revoked...)
	return err
}

// struck returns the receipts of all places, of which the revocations of all places made
// some nobody's word.
func (all *readSoFar) struck(a *app) []receipt.Receipt {
	for _, r := range all.revoked {
		if r.Why != nil {
			fmt.Fprintf(a.stderr, "sx: warning: the revocation %s does not count: %s\n", text.Field(r.Name), text.Field(r.Why.Error()))
		}
	}
	all.revoked.Strike(all.receipts)
	return all.receipts
}

func verifyReceipts(s *session, refs []graph.Ref, receipts []receipt.Receipt, asJSON bool) error {
	wanted, err := wantedReceipts(s.tree, refs)
	if err != nil {
		return err
	}
	whys, bad := receipt.Check(wanted, receipts), 0
	for i, r := range receipts {
		if whys[i] != nil {
			bad++
		}
		if asJSON {
			continue
		}
		if whys[i] != nil {
			fmt.Fprintf(s.stdout, "%s: does not count: %s\n", text.Field(r.Name), text.Field(whys[i].Error()))
			continue
		}
		fmt.Fprintf(s.stdout, "%s: %s %s, built by %s\n", text.Field(r.Name), r.Output(), r.Digest(), text.Field(r.Person))
	}
	if asJSON {
		err = printJSON(s.stdout, receiptsJSON(receipts, whys))
	}
	if bad > 0 {
		err = errors.Join(err, codeError(exitUnproven))
	}
	return err
}

// wantedReceipts returns what receipts on outputs of a tree must say. Outputs that
// digests/ does not list are left out.
func wantedReceipts(t *tree.Tree, refs []graph.Ref) (wanted []receipt.Want, err error) {
	for _, ref := range refs {
		o := t.Graph.Output(ref)
		digest := t.Published[o.String()]
		if digest.IsZero() {
			continue
		}
		key, err := reproduce.Key(t, o)
		if err != nil {
			return nil, err
		}
		w := receipt.Want{Output: o.String(), Digest: digest, Key: key.String(), Probe: buildkit.ProbeDigest, Deps: map[string]string{}}
		for _, d := range o.Deps {
			w.Deps[d.String()] = t.Published[d.String()].Hex()
		}
		wanted = append(wanted, w)
	}
	return wanted, nil
}

// receiptJSON is a receipt as `sx receipt show --json` prints it. It only gains fields.
type receiptJSON struct {
	Name       string             `json:"receipt"`
	Person     string             `json:"person,omitempty"` // whose word it is
	MachineKey string             `json:"machine_key,omitempty"`
	Why        string             `json:"why,omitempty"` // it does not count
	Statement  *receipt.Statement `json:"statement,omitempty"`
}

func receiptsJSON(receipts []receipt.Receipt, whys []error) map[string]any {
	all := []receiptJSON{}
	for i, r := range receipts {
		j := receiptJSON{Name: r.Name, Person: r.Person, MachineKey: r.MachineKey}
		why := r.Why
		if whys != nil {
			why = whys[i]
		}
		if why != nil {
			j.Why = why.Error()
		}
		if len(r.Subject) > 0 {
			j.Statement = &r.Statement
		}
		all = append(all, j)
	}
	return map[string]any{"receipts": all}
}
