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

// Pusher sends blobs and manifests to registries. It is safe for concurrent use. It sends
// a blob of several repositories of a registry once and mounts it in the others.
// go-containerregistry does the uploads, also if a registry cannot mount.
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

// PushOptions are the options of a Pusher. Retries are only for a registry that has
// answered before: one that never did fails at once.
type PushOptions struct {
	Retries int                       // further tries after temporary failures
	Backoff func(n int) time.Duration // wait before try n+1, unless the registry says; nil: 1, 2, 4 … 30 s with jitter
	Warn    func(text string)         // called before each wait; nil: none
}

// maxPushWait is the longest Retry-After that a push waits for: there is no other
// registry to push to.
const maxPushWait = 15 * time.Minute

// NewPusher returns a Pusher without connecting.
func NewPusher(c *Client, o PushOptions) *Pusher {
	if o.Backoff == nil {
		o.Backoff = transfer.Exponential
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	return &Pusher{client: c, opts: o, remotes: map[string]*peer{}, at: map[oci.Digest]name.Repository{}, heads: map[string]v1.Hash{}}
}

// Sent returns how many bytes of blobs were sent, including failed uploads.
func (p *Pusher) Sent() int64 { return p.sent.Load() }

// PushError means that pushing to a repository failed.
type PushError struct {
	Repository string
	Err        error
}

func (e *PushError) Error() string { return fmt.Sprintf("pushing to %s: %v", e.Repository, e.Err) }
func (e *PushError) Unwrap() error { return e.Err }

// Content is something to push: a blob or a manifest.
type Content struct {
	oci.Descriptor
	// Open returns a reader of the whole content. If the bytes do not match the digest,
	// reading ends with an error.
	Open func() (io.ReadCloser, error)
}

// Push sends the missing contents to a repository and tags the last one, a manifest. In
// contents, a manifest follows everything that it refers to. If all tags already name
// the last one, everything is there: present is true and nothing is sent. The error is a
// *PushError, ctx's cause, or an error of reading.
func (p *Pusher) Push(ctx context.Context, repository string, contents []Content, tags []string) (present bool, err error) {
	err = p.persist(ctx, repository, func(t *target) error {
		present, err = t.all(ctx, contents, tags)
		return err
	})
	return present, err
}

// Tagged returns the digest that a tag names: of an image index or an image manifest. It
// is zero if there is no such tag or if it may not be read. Errors are those of Push.
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

// persist calls do with a repository, and again after temporary failures.
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

// again reports whether to try once more after err, and how long to wait before.
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
	answered atomic.Bool // it answered at least once, as a registry does
}

// ImageContents returns the contents of an output's image, to push.
func ImageContents(img *cache.Image) []Content {
	var all []Content
	for _, d := range img.Blobs {
		all = append(all, Content{d, func() (io.ReadCloser, error) { return img.Open(d) }})
	}
	return all
}

// target is a repository to push to.
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
	// persist tries again: unlike go-containerregistry it obeys Retry-After.
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

// failed returns err as a *PushError that explains the registry's answer.
func (t *target) failed(ctx context.Context, err error) error {
	err = explain(ctx, t.repo, err)
	if ctx.Err() != nil {
		return err
	}
	return &PushError{t.repo.Name(), err}
}

// has reports whether the registry has root under ref, by the answer that Tagged got, or
// else by asking.
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

// head returns the digest that the registry has under ref; zero if it has none, or if it
// may not be read.
func (t *target) head(ctx context.Context, ref name.Reference) (v1.Hash, error) {
	d, err := t.pull.Head(ctx, ref)
	if err == nil {
		t.answered.Store(true)
		return d.Digest, nil
	}
	var none *NotFoundError
	var denied *DeniedError
	if why := explain(ctx, t.repo, err); errors.As(why, &none) || errors.As(why, &denied) {
		t.answered.Store(true)
		return v1.Hash{}, nil
	}
	return v1.Hash{}, err
}

// contents sends all contents but the last, blobs first. After a failure it starts no
// further blob, and finishes those that it has begun.
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

// blob uploads or mounts a blob.
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

// mountable returns l so that it is mounted, if another repository of the registry is
// known to have the blob.
func (t *target) mountable(l *layer) v1.Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.at[l.content.Digest]
	if !ok || at.Registry != t.repo.Registry || at == t.repo {
		return l
	}
	return &remote.MountableLayer{Layer: l, Reference: at.Digest(l.content.Digest.String())}
}
