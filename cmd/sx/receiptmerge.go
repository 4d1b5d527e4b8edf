package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/receipt"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// ociScheme begins the name of a registry where a folder may stand, too.
const ociScheme = "oci://"

// receiptPlace is where receipts go.
type receiptPlace struct {
	folder   string
	registry preseed.Registry // if client is set
	client   *preseed.Client
	digests  map[string]oci.Digest // published, by output
}

// receiptPlaceAt opens the place that --into names. The caller closes it.
func receiptPlaceAt(s *session, into string) (*receiptPlace, error) {
	if !strings.HasPrefix(into, ociScheme) {
		return &receiptPlace{folder: into}, nil
	}
	registry, err := preseed.ParseRegistry(strings.TrimPrefix(into, ociScheme))
	if err != nil {
		return nil, usagef("--into %s: %w", into, err)
	}
	opts := registryClient(s.set)
	opts.Log = s.logger()
	client, err := preseed.NewClient(opts)
	if err != nil {
		return nil, usageError{err}
	}
	return &receiptPlace{registry: registry, client: client, digests: s.tree.Published}, nil
}

func (p *receiptPlace) close() {
	if p.client != nil {
		p.client.Close()
	}
}

// put makes and writes the receipt of a statement, unless one of that key is there: to
// make it may need a touch.
func (p *receiptPlace) put(ctx context.Context, s receipt.Statement, keyID string, seal func() ([]byte, error)) (written bool, err error) {
	name := receipt.FileName(s, keyID)
	if p.client == nil {
		if receipt.Exists(p.folder, name) {
			return false, nil
		}
		data, err := seal()
		if err != nil {
			return false, err
		}
		return true, receipt.Write(p.folder, name, data)
	}
	subject, repository := p.digests[s.Output()], p.repository(s.Output())
	documents, err := p.client.Attached(ctx, repository, subject, receipt.MediaType, receipt.MaxFile)
	if err != nil {
		return false, err
	}
	for _, d := range documents {
		if d.Err == nil && receipt.Says(d.Data, s, keyID) {
			return false, nil
		}
	}
	data, err := seal()
	if err != nil {
		return false, err
	}
	return true, p.client.Attach(ctx, repository, subject, receipt.MediaType, data)
}

func (p *receiptPlace) repository(output string) string {
	return p.registry.Repository(output)
}

// receiptsFor reads the receipts of files, folders and registries; of a registry those on
// the published images of refs. A revocation in one place strikes the receipts of all.
func receiptsFor(ctx context.Context, s *session, refs []graph.Ref, places []string) ([]receipt.Receipt, error) {
	ring, revoked, err := loadRevoked()
	if err != nil {
		return nil, err
	}
	all := &readSoFar{ring: ring, revoked: revoked}
	for _, place := range places {
		if strings.HasPrefix(place, ociScheme) {
			err = receiptsAt(ctx, s, refs, place, all)
		} else {
			err = all.read(place)
		}
		if err != nil {
			return nil, err
		}
	}
	return all.struck(s.app), nil
}

// receiptsAt adds the receipts of a registry to all.
func receiptsAt(ctx context.Context, s *session, refs []graph.Ref, place string, all *readSoFar) error {
	p, err := receiptPlaceAt(s, place)
	if err != nil {
		return err
	}
	defer p.close()
	for _, ref := range refs {
		subject := p.digests[ref.String()]
		if subject.IsZero() {
			continue
		}
		documents, err := p.client.Attached(ctx, p.repository(ref.String()), subject, receipt.MediaType, receipt.MaxFile)
		if err != nil {
			return err
		}
		for _, d := range documents {
			r := receipt.Receipt{Name: d.Name, Why: d.Err}
			if d.Err == nil {
				r = receipt.Open(d.Name, d.Data, all.ring, time.Now())
			}
			all.receipts = append(all.receipts, r)
		}
	}
	return nil
}

// mergeReceipts adds up receipts on refs. The error is the exit code.
func mergeReceipts(ctx context.Context, s *session, refs []graph.Ref, o reproduceOptions) error {
	if o.closure {
		refs = s.tree.Graph.Closure(refs)
	}
	receipts, err := receiptsFor(ctx, s, refs, o.merge)
	if err != nil {
		return err
	}
	wanted, err := wantedReceipts(s.tree, refs)
	if err != nil {
		return err
	}
	sum := receipt.Merge(wanted, receipts)
	switch {
	case o.json:
		err = printJSON(s.stdout, sum)
	case o.markdown:
		sum.Markdown(s.stdout)
	default:
		sum.Print(s.stdout)
	}
	for _, ref := range refs {
		if s.tree.Published[ref.String()].IsZero() {
			fmt.Fprintf(s.stderr, "sx: digests/ has no line for %s\n", ref)
		}
	}
	switch {
	case sum.Count(receipt.Failed)+sum.Count(receipt.Conflict) > 0:
		err = errors.Join(err, codeError(exitMismatch))
	case sum.Count(receipt.Missing) > 0 || len(wanted) < len(refs):
		err = errors.Join(err, codeError(exitUnproven))
	}
	return err
}

// timesIn returns how long the builds took that receipts tell of, by output: the longest
// of each. Nothing but the division of work hangs on it, so that signatures do not matter.
func timesIn(paths []string) (map[string]time.Duration, error) {
	times := map[string]time.Duration{}
	for _, path := range paths {
		receipts, _, err := receipt.Read(path, &signature.Keyring{}, time.Now())
		if err != nil {
			return nil, err
		}
		for _, r := range receipts {
			if len(r.Subject) > 0 {
				times[r.Output()] = max(times[r.Output()], r.Took())
			}
		}
	}
	return times, nil
}
