package embedded

import (
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

// defaultCacheSize bounds the engine's cache where nothing else is said.
const defaultCacheSize = 50 << 30

// namespace is containerd's name for everything of this engine.
const namespace = "buildkit"

// engineWorker is a BuildKit controller over one OCI worker, and the paths
// that a client on the same machine uses.
type engineWorker struct {
	controller *control.Controller
	root       string
	contentDir string
	runcLog    string

	snapshotter  string
	standardGzip bool
	platforms    []string
	closers      []func() error
}

func (w *engineWorker) close() error {
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	return errors.Join(errs...)
}

func (w *engineWorker) options(root, name string, newSnapshotter func(string) (snapshots.Snapshotter, error), cfg childConfig) (base.WorkerOpt, error) {
	var opt base.WorkerOpt
	executorRoot := filepath.Join(root, "executor")
	// What a killed engine left: bundles of containers that died with it.
	if err := os.RemoveAll(executorRoot); err != nil {
		return opt, fmt.Errorf("clearing %q: %w", executorRoot, err)
	}
	w.runcLog = filepath.Join(executorRoot, "runc-log.json")
	networks := map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: network.NewHostProvider(),
		pb.NetMode_HOST:  network.NewHostProvider(),
		pb.NetMode_NONE:  network.NewNoneProvider(),
	}
	monitor, err := resources.NewMonitor()
	if err != nil {
		return opt, err
	}
	exe, err := runcexecutor.New(runcexecutor.Opt{
		Root:                executorRoot,
		CommandCandidates:   []string{"runc"},
		DefaultCgroupParent: cgroupOf(root),
		ProcessMode:         oci.ProcessSandbox,
		ResourceMonitor:     monitor,
		// Without /sys and without cgroups: neither can be had there.
		Rootless: userns.RunningInUserNS(),
	}, networks)
	if err != nil {
		return opt, err
	}
	sn, err := newSnapshotter(filepath.Join(root, "snapshots"))
	if err != nil {
		return opt, fmt.Errorf("starting the %s snapshotter: %w", name, err)
	}
	w.closers = append(w.closers, sn.Close)
	blobs, err := local.NewStore(filepath.Join(root, "content"))
	if err != nil {
		return opt, err
	}
	db, err := openDB(filepath.Join(root, contentDB))
	if err != nil {
		return opt, err
	}
	mdb := ctdmetadata.NewDB(db, verified{blobs}, map[string]snapshots.Snapshotter{name: sn})
	if err := mdb.Init(context.Background()); err != nil {
		return opt, err
	}
	content := containerdsnapshot.NewContentStore(mdb.ContentStore(), namespace)
	id, err := base.ID(root)
	if err != nil {
		return opt, err
	}
	md, err := metadata.NewStore(filepath.Join(root, refsDB))
	if err != nil {
		return opt, err
	}
	if err := unsynced(md.DB()); err != nil {
		return opt, err
	}
	size := cfg.CacheSize
	if size <= 0 {
		size = defaultCacheSize
	}
	w.snapshotter = name
	w.standardGzip = cfg.StandardGzip
	supported := archutil.SupportedPlatforms(true)
	for _, p := range supported {
		w.platforms = append(w.platforms, platforms.Format(platforms.Normalize(p)))
	}
	return base.WorkerOpt{
		ID:               id,
		Root:             root,
		Labels:           map[string]string{label.Snapshotter: name},
		Platforms:        supported,
		GCPolicy:         gcPolicy(size),
		NetworkProviders: networks,
		Executor:         &peakExecutor{exe, cgroupOf(root)},
		Snapshotter:      export.Counted(containerdsnapshot.NewSnapshotter(name, mdb.Snapshotter(name), namespace, nil), md),
		ContentStore:     content,
		Applier:          apply.NewFileSystemApplier(content),
		Differ:           walking.NewWalkingDiff(content),
		RegistryHosts:    noRegistry,
		LeaseManager:     leaseutil.WithNamespace(ctdmetadata.NewLeaseManager(mdb), namespace),
		GarbageCollect:   mdb.GarbageCollect,
		MetadataStore:    md,
		ContentMetadata:  db,
		MountPoolRoot:    filepath.Join(root, "cachemounts"),
		ResourceMonitor:  monitor,
	}, nil
}

// exportingWorker is BuildKit's worker with an exporter that compresses a layer once.
type exportingWorker struct {
	*base.Worker
	layers *export.Layers
}

func (w *engineWorker) exporting(bw *base.Worker) *exportingWorker {
	layers := &export.Layers{
		Content: bw.ContentStore(),
		Forget: func(d digest.Digest) error {
			return os.Remove(filepath.Join(w.contentDir, d.Encoded()))
		},
		Leases:     bw.LeaseManager(),
		Cache:      bw.CacheMgr,
		Overlay:    w.snapshotter == buildkit.Overlayfs,
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

// noRegistry refuses every registry: what a build reads comes from the tree.
func noRegistry(host string) ([]docker.RegistryHost, error) {
	return nil, fmt.Errorf("sx builds read no registry, not even %q", host)
}

// gcPolicy drops what was not used for two days once the cache is over a
// quarter of size, and the least recently used beyond size.
func gcPolicy(size int64) []client.PruneInfo {
	return []client.PruneInfo{
		{KeepDuration: 48 * time.Hour, MaxUsedSpace: size / 4},
		{All: true, MaxUsedSpace: size},
	}
}

// openDB opens a database whose writes are left to the kernel, see [sameBoot].
func openDB(path string) (*boltutil.DB, error) {
	return boltutil.SafeOpen(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, NoFreelistSync: true, NoSync: true, NoGrowSync: true})
}

func (w *engineWorker) control(root string, opt base.WorkerOpt) error {
	bw, err := base.NewWorker(context.Background(), opt)
	if err != nil {
		return err
	}
	workers := &worker.Controller{}
	if err := workers.Add(w.exporting(bw)); err != nil {
		return err
	}
	sessions, err := session.NewManager()
	if err != nil {
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
	w.controller, err = control.NewController(control.Opt{
		SessionManager:   sessions,
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
	w.closers = append(w.closers, w.controller.Close)
	return nil
}
