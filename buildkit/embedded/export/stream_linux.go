package export

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/overlay"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// A differ writes an archive of the changes between lower and upper.
type differ func(ctx context.Context, w io.Writer, lower, upper []mount.Mount) error

// overlayDiff is that of BuildKit for its overlayfs.
func overlayDiff(ctx context.Context, w io.Writer, lower, upper []mount.Mount) error {
	dir, err := overlay.GetUpperdir(lower, upper)
	if err != nil {
		return err
	}
	return overlay.WriteUpperdir(ctx, w, dir, lower)
}

// walkingDiff is containerd's for everything else.
func walkingDiff(ctx context.Context, w io.Writer, lower, upper []mount.Mount) error {
	return mount.WithTempMount(ctx, lower, func(lowerRoot string) error {
		return mount.WithReadonlyTempMount(ctx, upper, func(upperRoot string) error {
			return archive.WriteDiff(ctx, w, lowerRoot, upperRoot)
		})
	})
}

// stream makes the layer of a reference that was never stored. As in BuildKit,
// what the overlay differ cannot do is done by the walking one.
func (l *Layers) stream(ctx context.Context, j job) (*ocispecs.Descriptor, error) {
	below, release, err := l.below(ctx, j.chain, j.at)
	if err != nil {
		return nil, err
	}
	defer release()
	lower, unmountLower, err := mounts(ctx, below, j)
	if err != nil {
		return nil, err
	}
	defer unmountLower()
	upper, unmountUpper, err := mounts(ctx, j.ref(), j)
	if err != nil {
		return nil, err
	}
	defer unmountUpper()
	if l.Overlay {
		desc, err := l.through(ctx, j, overlayDiff, lower, upper)
		if err == nil || ctx.Err() != nil {
			return desc, err
		}
		bklog.G(ctx).Warnf("failed to compute blob by overlay differ: %v", err)
	}
	return l.through(ctx, j, walkingDiff, lower, upper)
}

// mounts are those of ref, none of nil.
func mounts(ctx context.Context, ref cache.ImmutableRef, j job) ([]mount.Mount, func() error, error) {
	nothing := func() error { return nil }
	if ref == nil {
		return nil, nothing, nil
	}
	m, err := ref.Mount(ctx, true, j.session)
	if err != nil {
		return nil, nil, err
	}
	mounts, release, err := m.Mount()
	if err != nil {
		return nil, nil, err
	}
	if release == nil {
		release = nothing
	}
	return mounts, release, nil
}

// pipeBuffer is how far the differ may be ahead of the compressor, in bytes.
const pipeBuffer = 256 << 10

var errEnded = errors.New("the layer is not wanted any more")

// through lets diff write while BuildKit's converter reads. Both have ended when it
// returns.
func (l *Layers) through(asked context.Context, j job, diff differ, lower, upper []mount.Mount) (*ocispecs.Descriptor, error) {
	r, w := io.Pipe()
	written := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(asked)
	defer cancel(nil)
	go func() {
		buf := bufio.NewWriterSize(w, pipeBuffer)
		err := diff(ctx, buf, lower, upper)
		if err == nil {
			err = buf.Flush()
		}
		w.CloseWithError(err)
		written <- err
	}()
	stop := context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
	defer stop()
	id := digest.FromString(j.ref().ID())
	store := &withStream{Store: l.Content, id: id, stream: r}
	desc, err := l.convert(ctx, store, ocispecs.Descriptor{MediaType: ocispecs.MediaTypeImageLayer, Digest: id}, j)
	if err != nil {
		cancel(errEnded)
	}
	// A failed differ fails the converter, and the other way round: then the differ only
	// says that the pipe is closed, and the converter why.
	if diffErr := <-written; err == nil {
		err = diffErr
	}
	switch {
	case err == nil:
		return desc, nil
	case asked.Err() != nil:
		return nil, context.Cause(asked)
	}
	return nil, err
}

// withStream is a store with one more blob, which is read once, from its beginning,
// while it is written.
type withStream struct {
	content.Store
	id     digest.Digest // by which it is asked for; its digest is not known yet
	stream io.ReadCloser
}

// Info implements content.InfoProvider: of the stream nothing is known.
func (s *withStream) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	if d == s.id {
		return content.Info{}, fmt.Errorf("layer %s: %w", d, errdefs.ErrNotFound)
	}
	return s.Store.Info(ctx, d)
}

// ReaderAt implements content.Provider.
func (s *withStream) ReaderAt(ctx context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	if desc.Digest == s.id {
		return &streamReader{ReadCloser: s.stream}, nil
	}
	return s.Store.ReaderAt(ctx, desc)
}

type streamReader struct {
	io.ReadCloser
	at int64
}

// Size implements content.ReaderAt: it ends where the stream does.
func (r *streamReader) Size() int64 { return math.MaxInt64 }

// ReadAt implements io.ReaderAt for a reader that goes forward.
func (r *streamReader) ReadAt(p []byte, off int64) (int, error) {
	if off != r.at {
		return 0, fmt.Errorf("reading a layer that is being written: at byte %d, not %d", off, r.at)
	}
	n, err := io.ReadFull(r.ReadCloser, p)
	r.at += int64(n)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}
