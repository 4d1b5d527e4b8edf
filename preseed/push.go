package preseed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

// Pusher sends blobs and manifests to registries. It is safe for concurrent use:
// of a blob that several repositories want, one is sent to and the others mount.
// Uploads, and what to do where a registry does not mount, are
// go-containerregistry's.
type Pusher struct {
	client *Client
	opts   PushOptions
	blobs  transfer.KeyedMutex[oci.Digest]
	sent   atomic.Int64

	mu      sync.Mutex                     // of all below
	remotes map[string]*peer               // by registry
	at      map[oci.Digest]name.Repository // where a blob is known to be
	heads   map[string]v1.Hash             // what Tagged found, by reference, until it is used
}

// PushOptions says how patient a Pusher is with a registry that answered before:
// one that never did is given up at once.
type PushOptions struct {
	Retries int                       // further tries after what may be better in a moment
	Backoff func(n int) time.Duration // before try n+1 where the registry did not say; nil: 1, 2, 4 … 30 s with jitter
	Warn    func(text string)         // called before each wait; nil: none
}

// maxPushWait is how long a registry may want not to be asked: nobody else is
// there to push to.
const maxPushWait = 15 * time.Minute

// NewPusher connects to nothing yet.
func (c *Client) NewPusher(o PushOptions) *Pusher {
	if o.Backoff == nil {
		o.Backoff = transfer.Exponential
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	return &Pusher{client: c, opts: o, remotes: map[string]*peer{}, at: map[oci.Digest]name.Repository{}, heads: map[string]v1.Hash{}}
}

// Sent is how many bytes of blobs were sent, those of broken uploads too.
func (p *Pusher) Sent() int64 { return p.sent.Load() }

// PushError says that a repository did not take something.
type PushError struct {
	Repository string
	Err        error
}

func (e *PushError) Error() string { return fmt.Sprintf("pushing to %s: %v", e.Repository, e.Err) }
func (e *PushError) Unwrap() error { return e.Err }

// Content is something to push: a blob or a manifest.
type Content struct {
	oci.Descriptor
	// Open reads it from its beginning. Where the bytes are not those of the
	// digest, reading ends with an error.
	Open func() (io.ReadCloser, error)
}

// Push sends what is missing of contents to a repository, and gives the last one,
// a manifest, the tags. Each manifest comes after what it names; a tag that already
// stands for the last one means that all is there. Present says that nothing was
// missing. The error is a *PushError, ctx's cause, or that of reading.
func (p *Pusher) Push(ctx context.Context, repository string, contents []Content, tags []string) (present bool, err error) {
	err = p.persist(ctx, repository, func(t *target) error {
		present, err = t.all(ctx, contents, tags)
		return err
	})
	return present, err
}

// Tagged returns what a tag stands for: the digest of an image index, or of an image
// that has none. It is zero if there is no such tag, and if it may not be read. Errors
// are those of Push.
func (p *Pusher) Tagged(ctx context.Context, repository, tag string) (d oci.Digest, err error) {
	err = p.persist(ctx, repository, func(t *target) error {
		ref := t.repo.Tag(tag)
		head, err := t.head(ctx, ref)
		if err != nil {
			return t.failed(ctx, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heads[ref.String()] = head
		if head != (v1.Hash{}) {
			d, err = oci.ParseDigest(head.String())
		}
		return err
	})
	return d, err
}

// persist tries to do something with a repository, again after what may be better in a
// moment.
func (p *Pusher) persist(ctx context.Context, repository string, do func(*target) error) error {
	t, err := p.open(ctx, repository)
	if err != nil {
		return &PushError{repository, err}
	}
	for try := 0; ; try++ {
		err := do(t)
		wait, again := t.again(err, try)
		if !again {
			return err
		}
		p.opts.Warn(fmt.Sprintf("%v; trying again in %s", err, wait.Round(time.Second)))
		if err := transfer.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// again says whether, and when, to try once more after err.
func (t *target) again(err error, try int) (wait time.Duration, again bool) {
	var push *PushError
	var limit *LimitError
	switch {
	case !errors.As(err, &push) || try >= t.opts.Retries || !t.answered.Load():
		return 0, false
	case errors.As(err, &limit) && limit.After > 0:
		return limit.After, limit.After <= maxPushWait
	}
	return t.opts.Backoff(try), transfer.OutcomeOf(err) == transfer.Passes
}

// all is one try of Push.
func (t *target) all(ctx context.Context, contents []Content, tags []string) (present bool, err error) {
	root, err := manifestOf(contents[len(contents)-1])
	if err != nil {
		return false, err
	}
	present = true
	for _, tag := range tags {
		there, err := t.has(ctx, t.repo.Tag(tag), root)
		if err != nil {
			return false, t.failed(ctx, err)
		}
		present = present && there
	}
	if present {
		for _, c := range contents {
			t.known(c, t.repo)
		}
		return true, nil
	}
	if err := t.contents(ctx, contents); err != nil {
		return false, err
	}
	for _, tag := range tags {
		if err := t.push.Push(ctx, t.repo.Tag(tag), root); err != nil {
			return false, t.failed(ctx, err)
		}
	}
	return false, nil
}

// peer is a registry.
type peer struct {
	pull     *remote.Puller
	push     *remote.Pusher
	answered atomic.Bool // once, as a registry does
}

// ImageContents are what an output's image consists of, to be pushed.
func ImageContents(img *cache.Image) []Content {
	var all []Content
	for _, d := range img.Blobs {
		all = append(all, Content{d, func() (io.ReadCloser, error) { return img.Open(d) }})
	}
	return all
}

// target is a repository that is pushed to.
type target struct {
	*Pusher
	*peer
	repo name.Repository
}

func (p *Pusher) open(ctx context.Context, repository string) (*target, error) {
	repo, options, err := p.client.Remote(ctx, repository)
	if err != nil {
		return nil, err
	}
	// Trying again is this package's: it listens to Retry-After.
	options = append(options, remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes())
	p.mu.Lock()
	defer p.mu.Unlock()
	reg := p.remotes[repo.RegistryStr()]
	if reg == nil {
		reg = &peer{}
		if reg.pull, err = remote.NewPuller(options...); err != nil {
			return nil, err
		}
		if reg.push, err = remote.NewPusher(options...); err != nil {
			return nil, err
		}
		p.remotes[repo.RegistryStr()] = reg
	}
	return &target{p, reg, repo}, nil
}

// failed explains what a registry said.
func (t *target) failed(ctx context.Context, err error) error {
	err = t.client.explain(ctx, t.repo, err)
	if ctx.Err() != nil {
		return err
	}
	return &PushError{t.repo.Name(), err}
}

// has reports whether the registry has root under ref: as Tagged just found it, or
// else as it is now.
func (t *target) has(ctx context.Context, ref name.Reference, root *rawManifest) (bool, error) {
	t.mu.Lock()
	head, known := t.heads[ref.String()]
	delete(t.heads, ref.String())
	t.mu.Unlock()
	if !known {
		var err error
		if head, err = t.head(ctx, ref); err != nil {
			return false, err
		}
	}
	return head == hashOf(root.descriptor), nil
}

// head returns what the registry has under ref, zero if that is nothing, or may not be
// read.
func (t *target) head(ctx context.Context, ref name.Reference) (v1.Hash, error) {
	d, err := t.pull.Head(ctx, ref)
	if err == nil {
		t.answered.Store(true)
		return d.Digest, nil
	}
	var none *NotFoundError
	var denied *DeniedError
	if why := t.client.explain(ctx, t.repo, err); errors.As(why, &none) || errors.As(why, &denied) {
		t.answered.Store(true)
		return v1.Hash{}, nil
	}
	return v1.Hash{}, err
}

// contents sends all but the last, blobs first. After a failure no blob is begun,
// and those on their way are finished: the next run has them.
func (t *target) contents(ctx context.Context, contents []Content) error {
	var workers errgroup.Group
	workers.SetLimit(layersAtOnce)
	var failed atomic.Bool
	for _, c := range contents {
		if c.IsManifest() {
			continue
		}
		workers.Go(func() error {
			if failed.Load() {
				return nil
			}
			err := t.blob(ctx, c)
			failed.CompareAndSwap(false, err != nil)
			return err
		})
	}
	if err := workers.Wait(); err != nil {
		return err
	}
	for _, c := range contents[:len(contents)-1] {
		if !c.IsManifest() {
			continue
		}
		m, err := manifestOf(c)
		if err != nil {
			return err
		}
		if err := t.push.Push(ctx, t.repo.Digest(c.Digest.String()), m); err != nil {
			return t.failed(ctx, err)
		}
	}
	return nil
}

// blob makes the repository have a blob.
func (t *target) blob(ctx context.Context, c Content) error {
	unlock, err := t.blobs.Lock(ctx, c.Digest)
	if err != nil {
		return err
	}
	defer unlock()
	slot, err := t.client.slots.Acquire(ctx, t.repo.RegistryStr(), 0, nil)
	if err != nil {
		return err
	}
	defer slot.Release()
	l := &layer{content: c, sent: &t.sent}
	err = t.push.Upload(ctx, t.repo, t.mountable(l))
	if local := l.failed(); err != nil && local != nil {
		return local
	}
	if err != nil {
		return t.failed(ctx, err)
	}
	t.known(c, t.repo)
	return nil
}

func (p *Pusher) known(c Content, repo name.Repository) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[c.Digest] = repo
}

// mountable tells where the registry has a blob already.
func (t *target) mountable(l *layer) v1.Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.at[l.content.Digest]
	if !ok || at.Registry != t.repo.Registry || at == t.repo {
		return l
	}
	return &remote.MountableLayer{Layer: l, Reference: at.Digest(l.content.Digest.String())}
}
