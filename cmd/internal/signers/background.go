package signers

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache/oci"
)

// atOnce is how many images' signatures a [Background] looks up at once.
const atOnce = 8

// ErrNoDigest is the error of an output whose signatures cannot be looked up.
var ErrNoDigest = errors.New("there is no digest to look for: it is neither in out/ nor in digests/")

// A Background looks up the signatures of outputs while the caller does other work.
type Background struct {
	Lookup  *Lookup
	group   errgroup.Group
	results []*Result // in the order of the calls of Add
}

// NewBackground returns a Background that uses l.
func NewBackground(l *Lookup) *Background {
	b := &Background{Lookup: l}
	b.group.SetLimit(atOnce)
	return b
}

// Add starts the lookup for an output. For a zero digest the result is [ErrNoDigest].
func (b *Background) Add(ctx context.Context, output string, digest oci.Digest) {
	r := &Result{Quorum: b.Lookup.Quorum, Err: ErrNoDigest}
	b.results = append(b.results, r)
	if !digest.IsZero() {
		b.group.Go(func() error {
			*r = b.Lookup.Of(ctx, output, digest)
			return nil
		})
	}
}

// Wait returns the results in the order of the calls of Add, once all have come.
func (b *Background) Wait() []*Result {
	b.group.Wait()
	return b.results
}
