package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containerd/containerd/v2/core/diff/apply"
	ctdmetadata "github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/cmd/buildkitd/config"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/archutil"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/label"
	"github.com/moby/sys/userns"
	digest "github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded/export"
	"codeberg.org/stagex/sx/buildkit/gogzip"
)

// defaultCacheSize bounds the engine's cache, in bytes, unless Options.CacheSize does.
const defaultCacheSize = 50 << 30

// namespace is containerd's name for all data of this engine.
const namespace = "buildkit"

// Worker is a BuildKit controller with one OCI worker, and what a client on the same
// machine needs to know of it.
type Worker struct {
	Controller  *control.Controller
	Sessions    *session.Manager
	Root        string // folder of the state
	ContentDir  string // folder of the blobs, by their sha256
	RuncLog     string // file that runc writes its errors to
	Snapshotter string
	Platforms   []string // that it can run programs for

	standardGzip bool
	closers      []func() error
}

// Close closes all that was opened, the last first.
func (w *Worker) Close() error {
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	return errors.Join(errs...)
}

// options opens the parts of the OCI worker.
func (w *Worker) options(root string, stack snapshotter, o Options) (opt base.WorkerOpt, err error) {
	if opt, err = w.executorOptions(root, o); err != nil {
		return opt, err
	}
	if err := w.openStorage(root, stack, &opt); err != nil {
		return opt, err
	}
	if opt.ID, err = base.ID(root); err != nil {
		return opt, err
	}
	w.Snapshotter, w.standardGzip = stack.name, o.StandardGzip
	opt.Root = root
	opt.Labels = map[string]string{label.Snapshotter: stack.name}
	opt.Platforms = archutil.SupportedPlatforms(true)
	for _, p := range opt.Platforms {
		w.Platforms = append(w.Platforms, platforms.Format(platforms.Normalize(p)))
	}
	size := o.CacheSize
	if size <= 0 {
		size = defaultCacheSize
	}
	opt.GCPolicy = gcPolicy(size)
	opt.RegistryHosts = noRegistry
	opt.MountPoolRoot = filepath.Join(root, "cachemounts")
	return opt, nil
}

// executorOptions returns the options about running programs.
func (w *Worker) executorOptions(root string, o Options) (opt base.WorkerOpt, err error) {
	executorRoot := filepath.Join(root, "executor")
	// A killed engine leaves bundles of containers that died with it.
	if err := os.RemoveAll(executorRoot); err != nil {
		return opt, fmt.Errorf("clearing %q: %w", executorRoot, err)
	}
	w.RuncLog = filepath.Join(executorRoot, "runc-log.json")
	opt.NetworkProviders = map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: network.NewHostProvider(),
		pb.NetMode_HOST:  network.NewHostProvider(),
		pb.NetMode_NONE:  network.NewNoneProvider(),
	}
	if opt.ResourceMonitor, err = resources.NewMonitor(); err != nil {
		return opt, err
	}
	exe, err := runcexecutor.New(runcexecutor.Opt{
		Root:                executorRoot,
		CommandCandidates:   []string{cmp.Or(o.Runc, "runc")},
		DefaultCgroupParent: cgroupOf(root),
		ProcessMode:         oci.ProcessSandbox,
		ResourceMonitor:     opt.ResourceMonitor,
		// Rootless works without /sys and cgroups, which a user namespace does not have.
		Rootless: userns.RunningInUserNS(),
	}, opt.NetworkProviders)
	opt.Executor = &peakExecutor{exe, cgroupOf(root), o.Hostname}
	return opt, err
}

// openStorage opens the snapshots, the blobs and their databases, and sets the options
// about them.
func (w *Worker) openStorage(root string, stack snapshotter, opt *base.WorkerOpt) error {
	sn, err := stack.open(filepath.Join(root, "snapshots"))
	if err != nil {
		return fmt.Errorf("starting the %s snapshotter: %w", stack.name, err)
	}
	w.closers = append(w.closers, sn.Close)
	blobs, err := local.NewStore(filepath.Join(root, "content"))
	if err != nil {
		return err
	}
	db, err := openDB(filepath.Join(root, contentDB))
	if err != nil {
		return err
	}
	mdb := ctdmetadata.NewDB(db, verified{blobs}, map[string]snapshots.Snapshotter{stack.name: sn})
	if err := mdb.Init(context.Background()); err != nil {
		return err
	}
	refs, err := metadata.NewStore(filepath.Join(root, refsDB))
	if err != nil {
		return err
	}
	if err := unsynced(refs.DB()); err != nil {
		return err
	}
	content := containerdsnapshot.NewContentStore(mdb.ContentStore(), namespace)
	opt.Snapshotter = export.Counted(containerdsnapshot.NewSnapshotter(stack.name, mdb.Snapshotter(stack.name), namespace, nil), refs)
	opt.ContentStore = content
	opt.Applier = apply.NewFileSystemApplier(content)
	opt.Differ = walking.NewWalkingDiff(content)
	opt.LeaseManager = leaseutil.WithNamespace(ctdmetadata.NewLeaseManager(mdb), namespace)
	opt.GarbageCollect = mdb.GarbageCollect
	opt.MetadataStore = refs
	opt.ContentMetadata = db
	return nil
}

// exportingWorker is BuildKit's worker with an exporter that compresses each layer once.
type exportingWorker struct {
	*base.Worker
	layers *export.Layers
}

func (w *Worker) exporting(bw *base.Worker) *exportingWorker {
	layers := &export.Layers{
		Content: bw.ContentStore(),
		Forget: func(d digest.Digest) error {
			return os.Remove(filepath.Join(w.ContentDir, d.Encoded()))
		},
		Leases:     bw.LeaseManager(),
		Cache:      bw.CacheMgr,
		Overlay:    w.Snapshotter == buildkit.Overlayfs,
		Compressor: runtime.Version() + " " + buildkit.Version(),
	}
	if !w.standardGzip {
		layers.Gzip = func(dest io.Writer) io.WriteCloser { return gogzip.NewWriter(dest) }
		layers.Compressor = "gogzip " + buildkit.Version()
	}
	return &exportingWorker{bw, layers}
}

// Exporter implements worker.Worker.
func (w *exportingWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sessions)
	if err != nil || name != client.ExporterOCI {
		return e, err
	}
	return export.New(e, w.layers), nil
}

// noRegistry refuses every registry: the inputs of a build come from the tree.
func noRegistry(host string) ([]docker.RegistryHost, error) {
	return nil, fmt.Errorf("sx builds read no registry, not even %q", host)
}

// gcPolicy limits the cache to size bytes. Above a quarter of that, records that were not
// used for two days are dropped; above size, the least recently used.
func gcPolicy(size int64) []client.PruneInfo {
	return []client.PruneInfo{
		{KeepDuration: 48 * time.Hour, MaxUsedSpace: size / 4},
		{All: true, MaxUsedSpace: size},
	}
}

// openDB opens a database that is never synced, see [sameBoot].
func openDB(path string) (*boltutil.DB, error) {
	return boltutil.SafeOpen(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, NoFreelistSync: true, NoSync: true, NoGrowSync: true})
}

func (w *Worker) control(root string, opt base.WorkerOpt) error {
	bw, err := base.NewWorker(context.Background(), opt)
	if err != nil {
		return err
	}
	workers := &worker.Controller{}
	if err := workers.Add(w.exporting(bw)); err != nil {
		return err
	}
	if w.Sessions, err = session.NewManager(); err != nil {
		return err
	}
	cacheStore, err := bboltcachestorage.NewStore(filepath.Join(root, cacheDB))
	if err != nil {
		return err
	}
	history, err := openDB(filepath.Join(root, historyDB))
	if err != nil {
		return err
	}
	w.Controller, err = control.NewController(control.Opt{
		SessionManager:   w.Sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build),
		},
		CacheManager:   solver.NewCacheManager(context.Background(), "local", cacheStore, worker.NewCacheResultStorage(workers)),
		HistoryDB:      history,
		CacheStore:     cacheStore,
		LeaseManager:   bw.LeaseManager(),
		ContentStore:   bw.ContentStore(),
		HistoryConfig:  &config.HistoryConfig{},
		GarbageCollect: bw.GarbageCollect,
	})
	if err != nil {
		return err
	}
	w.closers = append(w.closers, w.Controller.Close)
	return nil
}
