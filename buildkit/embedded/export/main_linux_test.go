package export

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/leases"
	ctdmetadata "github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/moby/buildkit/cache"
	cacheconfig "github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/cache/metadata"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/converter"
	"github.com/moby/buildkit/util/leaseutil"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"codeberg.org/stagex/sx/buildkit/gogzip"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	if os.Geteuid() != 0 && os.Getenv("SX_TEST_NO_ENGINE") != "1" {
		fmt.Fprintln(os.Stderr, "layers are mounted, which needs root; SX_TEST_NO_ENGINE=1 leaves these tests out")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

var (
	epoch1 = time.Unix(1, 0)
	gzipit = compression.New(compression.Default).SetForce(true) // as sx asks
	refcfg = cacheconfig.RefConfig{Compression: gzipit}
)

// worker is what BuildKit's has of stores, without anything that runs.
type worker struct {
	t       *testing.T
	root    string
	mdb     *ctdmetadata.DB
	content *writes
	leases  *leaseutil.Manager
	cache   cache.Manager
	layers  *Layers
}

// writes counts the blobs that were begun, and calls during within each.
type writes struct {
	*containerdsnapshot.Store
	begun  atomic.Int32
	during func()
	fail   error // of every write
}

func (s *writes) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	s.begun.Add(1)
	w, err := s.Store.Writer(ctx, opts...)
	return &duringWriter{w, s}, err
}

type duringWriter struct {
	content.Writer
	store *writes
}

func (w *duringWriter) Write(p []byte) (int, error) {
	if w.store.during != nil {
		w.store.during()
	}
	if w.store.fail != nil {
		return 0, w.store.fail
	}
	return w.Writer.Write(p)
}

var snapshotters = map[string]func(string) (snapshots.Snapshotter, error){
	"overlayfs": func(root string) (snapshots.Snapshotter, error) { return overlay.NewSnapshotter(root) },
	"native":    native.NewSnapshotter,
}

// onEach runs a test on the snapshotters that sx has.
func onEach(t *testing.T, test func(*worker)) {
	if os.Getenv("SX_TEST_NO_ENGINE") == "1" {
		t.Skip("SX_TEST_NO_ENGINE=1: nothing is mounted")
	}
	for name, open := range snapshotters {
		t.Run(name, func(t *testing.T) { test(newWorker(t, name, open)) })
	}
}

func newWorker(t *testing.T, name string, open func(string) (snapshots.Snapshotter, error)) *worker {
	w := &worker{t: t, root: t.TempDir()}
	sn, err := open(filepath.Join(w.root, "snapshots"))
	must(t, err)
	t.Cleanup(func() { sn.Close() })
	blobs, err := local.NewStore(filepath.Join(w.root, "content"))
	must(t, err)
	db, err := bolt.Open(filepath.Join(w.root, "meta.db"), 0o600, nil)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	w.mdb = ctdmetadata.NewDB(db, blobs, map[string]snapshots.Snapshotter{name: sn})
	must(t, w.mdb.Init(t.Context()))
	md, err := metadata.NewStore(filepath.Join(w.root, "refs.db"))
	must(t, err)
	w.content = &writes{Store: containerdsnapshot.NewContentStore(w.mdb.ContentStore(), "test")}
	w.leases = leaseutil.WithNamespace(ctdmetadata.NewLeaseManager(w.mdb), "test")
	w.cache, err = cache.NewManager(cache.ManagerOpt{
		Snapshotter:    Counted(containerdsnapshot.NewSnapshotter(name, w.mdb.Snapshotter(name), "test", nil), md),
		ContentStore:   w.content,
		LeaseManager:   w.leases,
		Applier:        apply.NewFileSystemApplier(w.content),
		Differ:         walking.NewWalkingDiff(w.content),
		GarbageCollect: w.mdb.GarbageCollect,
		MetadataStore:  md,
		MountPoolRoot:  filepath.Join(w.root, "mounts"),
	})
	must(t, err)
	t.Cleanup(func() { w.cache.Close() })
	w.layers = &Layers{
		Content: w.content, Leases: w.leases, Cache: w.cache, Overlay: name == "overlayfs", Compressor: "test",
		Gzip:   func(w io.Writer) io.WriteCloser { return gogzip.NewWriter(w) },
		Forget: func(d digest.Digest) error { return os.Remove(w.path(d)) },
	}
	return w
}

func (w *worker) path(d digest.Digest) string {
	return filepath.Join(w.root, "content", "blobs", "sha256", d.Encoded())
}

// layer is a new one on parent, with what change does to its root.
func (w *worker) layer(parent cache.ImmutableRef, change func(root string)) cache.ImmutableRef {
	w.t.Helper()
	ctx := w.t.Context()
	m, err := w.cache.New(ctx, parent, nil, cache.CachePolicyRetain)
	must(w.t, err)
	mountable, err := m.Mount(ctx, false, nil)
	must(w.t, err)
	mounts, release, err := mountable.Mount()
	must(w.t, err)
	must(w.t, mount.WithTempMount(ctx, mounts, func(root string) error { change(root); return nil }))
	if release != nil {
		must(w.t, release())
	}
	ref, err := m.Commit(ctx)
	must(w.t, err)
	return ref
}

// file is a layer with one file of n random bytes.
func (w *worker) file(parent cache.ImmutableRef, name string, n int) cache.ImmutableRef {
	return w.layer(parent, func(root string) { must(w.t, os.WriteFile(filepath.Join(root, name), noise(n), 0o644)) })
}

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

// once exports ref's layers as a new export does.
func (w *worker) once(ctx context.Context, ref cache.ImmutableRef, base int) ([]ocispecs.Descriptor, error) {
	ctx, done, err := leaseutil.WithLease(ctx, w.leases, leaseutil.MakeTemporary)
	must(w.t, err)
	defer done(context.WithoutCancel(ctx))
	r := &onceRef{ImmutableRef: ref, layers: w.layers, made: &made{}, epoch: epoch1, base: base}
	remotes, err := r.GetRemotes(ctx, true, refcfg, false, nil)
	if err != nil {
		return nil, err
	}
	again, err := r.GetRemotes(ctx, false, refcfg, false, nil) // as BuildKit's exporter does
	must(w.t, err)
	if len(again[0].Descriptors) != len(remotes[0].Descriptors) {
		w.t.Errorf("the second look finds %d layers, the first %d", len(again[0].Descriptors), len(remotes[0].Descriptors))
	}
	return remotes[0].Descriptors, nil
}

func (w *worker) mustOnce(ref cache.ImmutableRef) []ocispecs.Descriptor {
	w.t.Helper()
	descs, err := w.once(w.t.Context(), ref, 0)
	must(w.t, err)
	return descs
}

// twice exports ref's layers as BuildKit's exporter does.
func (w *worker) twice(ref cache.ImmutableRef) []ocispecs.Descriptor {
	w.t.Helper()
	ctx, done, err := leaseutil.WithLease(w.t.Context(), w.leases, leaseutil.MakeTemporary)
	must(w.t, err)
	defer done(context.WithoutCancel(ctx))
	remotes, err := ref.GetRemotes(ctx, true, refcfg, false, nil)
	must(w.t, err)
	descs := remotes[0].Descriptors
	for i, desc := range descs {
		convert, err := converter.NewWithRewriteTimestamp(ctx, w.content, desc, gzipit, &epoch1, nil)
		must(w.t, err)
		if convert == nil {
			continue
		}
		made, err := convert(ctx, w.content, desc)
		must(w.t, err)
		descs[i] = *made
	}
	return descs
}

// leftovers are ingests, temporary leases and mounts.
func (w *worker) leftovers() (left []string) {
	w.t.Helper()
	ingests, err := os.ReadDir(filepath.Join(w.root, "content", "ingest"))
	must(w.t, err)
	for _, e := range ingests {
		left = append(left, "ingest "+e.Name())
	}
	statuses, err := w.content.ListStatuses(w.t.Context())
	must(w.t, err)
	for _, s := range statuses {
		left = append(left, "status "+s.Ref)
	}
	all, err := w.leases.List(w.t.Context())
	must(w.t, err)
	for _, l := range all {
		if _, ok := l.Labels["buildkit/lease.temporary"]; ok && !strings.HasSuffix(l.ID, "-view") {
			left = append(left, "lease "+l.ID)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(w.t, err)
	for line := range bytes.Lines(mounts) {
		if bytes.Contains(line, []byte(w.root)) {
			left = append(left, string(line))
		}
	}
	return left
}

// holds reports whether the references' leases keep a blob.
func (w *worker) holds(ref cache.ImmutableRef, d digest.Digest) bool {
	resources, err := w.leases.ListResources(w.t.Context(), leases.Lease{ID: ref.ID()})
	must(w.t, err)
	for _, r := range resources {
		if r.ID == d.String() {
			return true
		}
	}
	return false
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
