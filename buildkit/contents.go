package buildkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// sink receives the blobs that the exporter sends. All builds of a session share it,
// because BuildKit has one store named "export" per session; blobs are named by digest,
// so they do not mix. If the engine's blobs are on this machine they are hard-linked. An
// engine elsewhere sends only blobs that out/ does not have, so not the layers of a FROM.
// Blobs are hashed when they enter a staging folder.
type sink struct {
	content.Store
	root       string // of the local content store
	contentDir string // the engine's blobs, or ""
	store      *cache.Store
	full       atomic.Bool // this machine's disk was full when a blob arrived

	mu       sync.Mutex
	closed   bool
	arriving sync.WaitGroup // blobs that are being written
}

func newSink(root, contentDir string, store *cache.Store) (*sink, error) {
	st, err := local.NewStore(root)
	if err != nil {
		return nil, fmt.Errorf("making the store for results: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "blobs", "sha256"), 0o700); err != nil {
		return nil, err
	}
	return &sink{Store: st, root: root, contentDir: contentDir, store: store}, nil
}

func (s *sink) path(d digest.Digest) string {
	return filepath.Join(s.root, "blobs", "sha256", d.Encoded())
}

// Writer implements content.Ingester. If a blob cannot be linked, it is copied through
// the session.
func (s *sink) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var w content.WriterOpts
	for _, o := range opts {
		if err := o(&w); err != nil {
			return nil, err
		}
	}
	if !s.begin() {
		return nil, fmt.Errorf("blob %s: the session has ended: %w", w.Desc.Digest, errdefs.ErrUnavailable)
	}
	if err := s.link(w.Desc.Digest); err == nil || os.IsExist(err) {
		s.arriving.Done()
		return nil, fmt.Errorf("blob %s: %w", w.Desc.Digest, errdefs.ErrAlreadyExists)
	}
	out, err := s.Store.Writer(ctx, opts...)
	if err != nil {
		s.arriving.Done()
		return nil, s.note(err)
	}
	return &sinkWriter{Writer: out, sink: s}, nil
}

// begin reports whether a blob may still arrive; its end is arriving.Done.
func (s *sink) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.arriving.Add(1)
	}
	return !s.closed
}

// close refuses further blobs, and returns when those that were arriving have ended: what
// the engine sends may be on its way when the session ends. It waits no longer than bound.
func (s *sink) close(bound time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.arriving.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(bound):
	}
}

// note records a full disk. The engine returns the error as text, which does not say
// whether its own disk or this one is full.
func (s *sink) note(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		s.full.Store(true)
	}
	return err
}

type sinkWriter struct {
	content.Writer
	sink  *sink
	ended sync.Once
}

func (w *sinkWriter) Close() error {
	defer w.ended.Do(w.sink.arriving.Done)
	return w.Writer.Close()
}

func (w *sinkWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, w.sink.note(err)
}

func (w *sinkWriter) Commit(ctx context.Context, size int64, want digest.Digest, opts ...content.Opt) error {
	return w.sink.note(w.Writer.Commit(ctx, size, want, opts...))
}

// link hard-links a blob that is on this machine: the engine's, or one of out/.
func (s *sink) link(d digest.Digest) error {
	cd, err := oci.ParseDigest(d.String())
	if err != nil {
		return err
	}
	if s.contentDir != "" {
		return os.Link(filepath.Join(s.contentDir, d.Encoded()), s.path(d))
	}
	return s.store.Link(cd, s.path(d))
}

// blobs serves the dependencies' blobs from out/ to the engine, by digest.
type blobs struct {
	content.Store // nil: the engine only reads

	store *cache.Store
	mu    sync.Mutex
	known map[oci.Digest]struct{} // offered to a build of this session
}

// offer lets the engine read ds. It can read no other blob of the cache.
func (b *blobs) offer(ds []oci.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		b.known[d] = struct{}{}
	}
}

func (b *blobs) path(d digest.Digest) (string, error) {
	cd, err := oci.ParseDigest(d.String())
	if err != nil {
		return "", fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	b.mu.Lock()
	_, ok := b.known[cd]
	b.mu.Unlock()
	if !ok {
		return "", fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
	}
	return b.store.BlobPath(cd)
}

// Info implements content.InfoProvider.
func (b *blobs) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	p, err := b.path(d)
	if err != nil {
		return content.Info{}, err
	}
	st, err := os.Stat(p)
	if err != nil {
		return content.Info{}, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{Digest: d, Size: st.Size(), CreatedAt: st.ModTime(), UpdatedAt: st.ModTime()}, nil
}

// ReaderAt implements content.Provider.
func (b *blobs) ReaderAt(_ context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	p, err := b.path(desc.Digest)
	if err != nil {
		return nil, err
	}
	r, err := local.OpenReader(p)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	return r, nil
}

// Update, Walk and Delete implement content.Manager by refusing.
func (b *blobs) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errReadOnly
}

func (b *blobs) Walk(context.Context, content.WalkFunc, ...string) error { return errReadOnly }

func (b *blobs) Delete(context.Context, digest.Digest) error { return errReadOnly }

// Writer and Abort implement content.Ingester and IngestManager by refusing.
func (b *blobs) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return nil, errReadOnly
}

func (b *blobs) Abort(context.Context, string) error { return errReadOnly }

func (b *blobs) Status(context.Context, string) (content.Status, error) {
	return content.Status{}, errReadOnly
}

func (b *blobs) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, errReadOnly
}

var errReadOnly = fmt.Errorf("the dependencies' blobs are read-only: %w", errdefs.ErrPermissionDenied)
