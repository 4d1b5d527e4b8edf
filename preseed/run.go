package preseed

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// Image is a published image, as digests/ lists it.
type Image struct {
	Output   string
	Digest   oci.Digest   // of the image manifest
	Platform oci.Platform // the platform that it must be for
	Version  string       // used if the image does not have its own
}

// Defaults of Options.
const (
	DefaultImages  = 8
	DefaultRetries = 3
	DefaultMaxBlob = 16 << 30

	layersAtOnce = 4
)

// Options are the options of Run. Store and Registries must be set.
type Options struct {
	Store      *cache.Store
	Registries []Registry // asked in this order
	Client     ClientOptions
	Images     int   // images at once, default DefaultImages
	MaxBlob    int64 // bytes of the largest blob accepted, default DefaultMaxBlob
	Retries    int   // further rounds over all registries, default DefaultRetries, negative: none

	Backoff func(n int) time.Duration // before round n+1; nil: 1, 2, 4 … 30 s with jitter
	Status  Status                    // nil: none
	Log     *zap.Logger               // nil: none
}

// Report lists the images by outcome, each list in the order given to Run.
type Report struct {
	Present, Linked, Fetched, Kept []Image
	Bytes                          int64 // of blobs, read from registries
	Quotas                         map[string]Quota
}

// run is one call of Run.
type run struct {
	opts              Options
	client            *Client
	status            *transfer.Serial[string]
	manifests, layers *states
	blobs             transfer.KeyedMutex[oci.Digest]
	local             local
	bytes             atomic.Int64
	stop              context.CancelCauseFunc

	mu       sync.Mutex // of all below
	outcome  map[string]string
	failures []Failure
	quotas   map[string]Quota
}

// Run puts the images into out/, byte for byte like builds, and records where they came
// from. It does not ask for images that are present and complete. If images fail, the
// others are still preseeded, and the error is an *Error. Any other error is one of this
// machine, or ctx's cause.
func Run(ctx context.Context, images []Image, opts Options) (Report, error) {
	r, err := newRun(opts)
	if err != nil {
		return Report{}, err
	}
	defer r.client.Close()
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	r.status.Tell(func(s Status) { s.Begin(len(images)) })
	defer r.status.Tell(Status.End)
	var workers errgroup.Group
	workers.SetLimit(r.opts.Images)
	for _, img := range images {
		workers.Go(func() error {
			if ctx.Err() == nil {
				r.one(ctx, img)
			}
			return nil
		})
	}
	workers.Wait() // r.one records errors
	return r.report(images), r.err(ctx, len(images))
}

func newRun(opts Options) (*run, error) {
	transfer.Default(&opts.Images, DefaultImages)
	transfer.Default(&opts.MaxBlob, DefaultMaxBlob)
	transfer.Default(&opts.Retries, DefaultRetries)
	transfer.Default(&opts.Log, zap.NewNop())
	opts.Retries = max(opts.Retries, 0)
	if opts.Backoff == nil {
		opts.Backoff = transfer.Exponential
	}
	if len(opts.Registries) == 0 {
		return nil, errors.New("no registry to preseed from: set registries.hosts")
	}
	r := &run{opts: opts, status: transfer.NewSerial(opts.Status), outcome: map[string]string{}, quotas: map[string]Quota{}}
	r.opts.Client.OnQuota = r.quota
	r.opts.Client.Log = opts.Log
	r.opts.Client.Warn = func(text string) { r.status.Tell(func(s Status) { s.Warn(text) }) }
	client, err := NewClient(r.opts.Client)
	if err != nil {
		return nil, err
	}
	r.client, r.local.store = client, opts.Store
	r.manifests, r.layers = newStates(opts.Registries, client.opts.Limits.Now), newStates(opts.Registries, client.opts.Limits.Now)
	return r, nil
}

// quota records the lowest number of pulls left.
func (r *run) quota(host string, q Quota) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.quotas[host]; !ok || q.Remaining < old.Remaining {
		r.quotas[host] = q
	}
}

// one preseeds an image and records the result.
func (r *run) one(ctx context.Context, img Image) {
	how, err := r.image(ctx, img)
	if err == nil {
		r.mu.Lock()
		r.outcome[img.Output] = how
		r.mu.Unlock()
		r.status.Tell(func(s Status) { s.Done(img.Output, how) })
		return
	}
	var local *transfer.LocalError
	if errors.As(err, &local) {
		r.stop(local.Err)
	}
	if ctx.Err() != nil {
		return // r.err reports why the run ends
	}
	var said transfer.Attempts
	if !errors.As(err, &said) {
		said = transfer.Attempts{{Reason: err}}
	}
	f := Failure{Image: img, Attempts: said}
	r.mu.Lock()
	r.failures = append(r.failures, f)
	r.mu.Unlock()
	r.status.Tell(func(s Status) { s.Fail(img.Output, "", f) })
}

func (r *run) report(images []Image) Report {
	rep := Report{Bytes: r.bytes.Load(), Quotas: r.quotas}
	for _, img := range images {
		switch r.outcome[img.Output] {
		case Present:
			rep.Present = append(rep.Present, img)
		case Linked:
			rep.Linked = append(rep.Linked, img)
		case Fetched:
			rep.Fetched = append(rep.Fetched, img)
		case Kept:
			rep.Kept = append(rep.Kept, img)
		}
	}
	return rep
}

func (r *run) err(ctx context.Context, total int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(r.failures) == 0 {
		return nil
	}
	slices.SortFunc(r.failures, func(a, b Failure) int {
		return cmp.Or(strings.Compare(a.Image.Output, b.Image.Output))
	})
	return &Error{r.failures, total}
}

// The outcomes of an image, values of how in Status.Done.
const (
	Present = "present"   // it was there, complete
	Linked  = "linked"    // all its blobs were on this machine
	Fetched = "preseeded" // some of it came from a registry
	Kept    = "kept"      // out/ keeps another image, which was built here
)

// Status receives the progress of Run. Its items are outputs, its places registries.
type Status = transfer.Status[string]
