package export

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/moby/buildkit/cache"
	cacheconfig "github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/flightcontrol"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Layers are the finished layers of an engine. Its fields are the parts of the
// worker that the references belong to. It is safe for concurrent use.
type Layers struct {
	Content content.Store
	// Forget removes the file of a damaged blob, which Content only stops to
	// know of.
	Forget  func(digest.Digest) error
	Leases  leases.Manager
	Cache   cache.Manager
	Overlay bool // the snapshotter is BuildKit's overlayfs
	// Gzip compresses to the bytes of compress/gzip; nil means compress/gzip itself.
	Gzip func(io.Writer) io.WriteCloser
	// Compressor names what decides the compressed bytes: layers that another
	// one compressed are not used.
	Compressor string

	flights flightcontrol.Group[*ocispecs.Descriptor]
}

// errLeave says that something is to be left to BuildKit.
var errLeave = errors.New("not a chain of plain layers")

// How BuildKit's cache stores what a record was made from (moby/buildkit:
// cache/metadata.go). TestStoredKeys holds them against a cache.
const (
	keyParent      = "cache.parent"
	keyMerged      = "cache.mergeParents"
	keyDiffOf      = "cache.upperDiffParent"
	keyDiffFrom    = "cache.lowerDiffParent"
	keySize        = "snapshot.size"
	typeOfWindows  = "windows"
	resourceOfBlob = "content"
)

// remote is what ref.GetRemotes returns, with finished layers.
func (l *Layers) remote(ctx context.Context, ref *onceRef, cfg cacheconfig.RefConfig, s session.Group) (*solver.Remote, error) {
	remote, err := l.finished(ctx, ref, cfg, s)
	if err == nil || !errors.Is(err, errLeave) {
		return remote, err
	}
	bklog.G(ctx).Warnf("leaving the layers of %s to BuildKit, which compresses them twice: %v", ref.ID(), err)
	remotes, err := ref.ImmutableRef.GetRemotes(ctx, true, cfg, false, s)
	if err != nil {
		return nil, err
	}
	return remotes[0], nil
}

func (l *Layers) finished(ctx context.Context, ref *onceRef, cfg cacheconfig.RefConfig, s session.Group) (*solver.Remote, error) {
	if err := ref.Finalize(ctx); err != nil {
		return nil, err
	}
	chain := ref.LayerChain()
	defer chain.Release(context.WithoutCancel(ctx))
	blobs, err := l.blobs(ctx, chain, cfg, s)
	if err != nil {
		return nil, err
	}
	done := make([]ocispecs.Descriptor, len(chain))
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(runtime.GOMAXPROCS(0)) // bounds the memory, whatever the image
	for i := range chain {
		if i < ref.base { // BuildKit knows whether it is the base's
			if blobs[i] == nil {
				return nil, errLeave
			}
			done[i] = *blobs[i]
			continue
		}
		eg.Go(func() error {
			desc, err := l.layer(ctx, job{chain: chain, at: i, blob: blobs[i], epoch: ref.epoch, compression: cfg.Compression, session: s})
			if err == nil {
				done[i] = *desc
			}
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	return &solver.Remote{Provider: l.Content, Descriptors: done}, nil
}

// blobs are the stored layers of a chain, nil for one that was never stored: what a
// build brought, or BuildKit's exporter left.
func (l *Layers) blobs(ctx context.Context, chain cache.RefList, cfg cacheconfig.RefConfig, s session.Group) ([]*ocispecs.Descriptor, error) {
	known := map[string]*ocispecs.Descriptor{}
	for i := len(chain) - 1; i >= 0; i-- {
		ref := chain[i]
		if _, ok := known[ref.ID()]; ok {
			continue
		}
		if ref.GetLayerType() == typeOfWindows {
			return nil, errLeave
		}
		if err := ref.Finalize(ctx); err != nil { // or BuildKit takes it for stored
			return nil, err
		}
		remotes, err := ref.GetRemotes(ctx, false, cfg, false, s)
		if errors.Is(err, cache.ErrNoBlobs) {
			known[ref.ID()] = nil
			continue
		} else if err != nil {
			return nil, err
		}
		if err := l.add(ctx, known, ref, remotes[0].Descriptors); err != nil {
			return nil, err
		}
	}
	blobs := make([]*ocispecs.Descriptor, len(chain))
	for i, ref := range chain {
		blobs[i] = known[ref.ID()]
	}
	return blobs, nil
}

// add notes the stored layers of ref. One that BuildKit did not bring yet is left
// to it.
func (l *Layers) add(ctx context.Context, known map[string]*ocispecs.Descriptor, ref cache.ImmutableRef, descs []ocispecs.Descriptor) error {
	below := ref.LayerChain()
	defer below.Release(context.WithoutCancel(ctx))
	if len(below) != len(descs) {
		return errLeave
	}
	for i, r := range below {
		if _, err := l.Content.Info(ctx, descs[i].Digest); err != nil {
			return errors.Join(errLeave, err)
		}
		known[r.ID()] = &descs[i]
	}
	return nil
}

// below is the reference that chain[at] lies on, nil for one on nothing.
func (l *Layers) below(ctx context.Context, chain cache.RefList, at int) (_ cache.ImmutableRef, release func(), err error) {
	ref, nothing := chain[at], func() {}
	for _, key := range []string{keyMerged, keyDiffOf, keyDiffFrom} {
		if ref.Get(key) != nil {
			return nil, nil, errLeave
		}
	}
	parent := ref.GetString(keyParent)
	own := ref.LayerChain()
	defer own.Release(context.WithoutCancel(ctx))
	switch {
	case (parent == "") != (len(own) == 1): // BuildKit stores it otherwise than it did
		return nil, nil, errLeave
	case parent == "":
		return nil, nothing, nil
	case at > 0 && chain[at-1].ID() == parent:
		return chain[at-1], nothing, nil
	}
	below, err := l.Cache.Get(ctx, parent, nil, cache.NoUpdateLastUsed)
	if err != nil {
		return nil, nil, errors.Join(errLeave, err)
	}
	return below, func() { below.Release(context.WithoutCancel(ctx)) }, nil
}
