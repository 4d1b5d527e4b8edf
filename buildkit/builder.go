package buildkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	sessioncontent "github.com/moby/buildkit/session/content"
	"github.com/moby/buildkit/worker/label"
	"go.uber.org/zap"

	"codeberg.org/stagex/sx/buildkit/link"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// storeID is the session's name for the store of dependencies' blobs. BuildKit requires
// a valid repository name.
const storeID = "sx"

// Options of [Open].
type Options struct {
	// Store has the dependencies, and receives the results.
	Store *cache.Store
	Log   *zap.Logger
	// Hub is where jobs with a HubTag exchange images; nil: nowhere. The embedded engine
	// has none.
	Hub Hub
	// Spans receives the spans of the embedded engine; nil if there is no trace. Another
	// engine is not offered it: it has an exporter of its own, or none.
	Spans Spans
}

// Builder runs builds on one engine. All builds share one session: with a session each,
// cancelling one build can break another that reads the same dependency. It is safe for
// concurrent use.
type Builder struct {
	Engine  Engine
	conn    *Conn
	session *session.Session
	ended   chan struct{} // closed when the session's connection is gone
	cancel  context.CancelFunc
	dirs    *dirs
	blobs   *blobs
	sink    *sink
	store   *cache.Store
	scratch *cache.TempDir // of the sink
	dropped atomic.Bool    // the engine has given up the session
	builds  sync.RWMutex   // each build holds it for reading, because it uses the sink
	log     *zap.Logger

	archives archives
	hub      Hub // nil if there is none

	answerTime time.Duration // of a test; 0: AnswerTime
}

// Open connects to engine.
func Open(ctx context.Context, engine Engine, opts Options) (*Builder, error) {
	conn, err := engine.Connect(ctx)
	if err != nil {
		return nil, err
	}
	b := &Builder{Engine: engine, conn: conn, store: opts.Store, log: opts.Log, ended: make(chan struct{}), hub: opts.Hub}
	if b.log == nil {
		b.log = zap.NewNop()
	}
	if err := b.open(ctx, opts); err != nil {
		conn.Client.Close()
		return nil, err
	}
	return b, nil
}

func (b *Builder) open(ctx context.Context, opts Options) (err error) {
	if b.scratch, err = b.store.TempDir("results"); err != nil {
		return err
	}
	if b.sink, err = newSink(b.scratch.Path, b.conn.ContentDir, b.store); err != nil {
		return err
	}
	b.dirs = &dirs{byName: map[string]*servedContext{}}
	b.blobs = &blobs{store: b.store, known: map[oci.Digest]struct{}{}}
	// The session lasts until Close, not only until the first build's context ends.
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if b.session, err = session.NewSession(ctx, "sx"); err != nil {
		return err
	}
	b.session.Allow(b.dirs)
	b.session.Allow(sessioncontent.NewAttachable(map[string]content.Store{
		"oci:" + storeID: b.blobs,
		"export":         b.sink,
	}))
	if b.hub != nil {
		tokens, err := newTokens(b.hub, b.log)
		if err != nil {
			return err
		}
		b.session.Allow(tokens)
	}
	if opts.Spans != nil && b.Engine.Kind() == EmbeddedKind {
		b.session.Allow(&spanService{take: opts.Spans})
	}
	go func() { // ended by Close, or by the engine's end
		defer close(b.ended)
		if err := b.session.Run(ctx, b.conn.Client.Dialer()); err != nil && ctx.Err() == nil {
			b.log.Debug("session ended", zap.Error(err))
		}
	}()
	go b.watch(ctx, watchInterval, Silence) // ended like the session
	if b.conn.link != nil {
		go b.watchLink(ctx, b.conn.link.Cut)
	}
	return nil
}

// Close ends the session and all running builds. A build that has received its result
// still collects it; Close waits for that.
func (b *Builder) Close() error {
	select {
	case <-b.ended:
		defer b.sweep()
	default:
	}
	b.cancel()
	b.session.Close()
	<-b.ended
	if m := b.conn.moved; m != nil {
		b.log.Info("connection to the engine closed", zap.Int64("bytes_sent", m.sent.Load()), zap.Int64("bytes_received", m.received.Load()))
	}
	err := b.conn.Client.Close()
	b.builds.Lock()
	defer b.builds.Unlock()
	b.sink.close(AnswerTime)
	return errors.Join(err, b.scratch.Close())
}

// sweep removes what a killed engine left on this machine.
func (b *Builder) sweep() {
	if e, ok := b.Engine.(Sweeper); ok {
		e.Sweep()
	}
}

// Elsewhere reports whether what the engine needs must be sent to it.
func (b *Builder) Elsewhere() bool { return b.conn.ContentDir == "" }

// Sent returns how many bytes were sent to the engine so far, 0 if that is not counted.
func (b *Builder) Sent() int64 {
	if b.conn.moved == nil {
		return 0
	}
	return b.conn.moved.sent.Load()
}

// Kind returns the engine's kind.
func (b *Builder) Kind() string { return b.Engine.Kind() }

// Lost reports whether the engine is gone, so that a failed build can be tried again on
// a new Builder. It asks the engine, because a build may fail before the session
// notices.
func (b *Builder) Lost(ctx context.Context) bool {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	_, err := b.conn.Client.Info(ctx)
	select {
	case <-b.ended:
		return true
	default:
		return err != nil || b.dropped.Load()
	}
}

// Away turns an error which means that an engine elsewhere went away again into an
// *EngineError, so that the caller can wait for the engine. It returns other errors
// unchanged.
func (b *Builder) Away(err error) error {
	var lost *LostError
	if !b.conn.Elsewhere || !errors.As(err, &lost) && !transient(err) {
		return err
	}
	if lost != nil {
		err = lost.Err
	}
	return &EngineError{EngineName(b.Engine), "it went away as soon as it was reached (" + RootMessage(err) + ")", "try again, or see its log"}
}

// AnswerTime is how long a live engine may take to answer.
const AnswerTime = 20 * time.Second

// bounded returns the context of a question to the engine.
func (b *Builder) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(b.answerTime, AnswerTime))
}

// Version returns the engine's BuildKit version, such as "v0.34.2".
func (b *Builder) Version(ctx context.Context) (string, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	info, err := b.conn.Client.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the engine for its version: %w", err)
	}
	return info.BuildkitVersion.Version, nil
}

// Overlayfs is the snapshotter of the engines that published StageX's digests. The
// snapshotter "native", which copies, gives other bytes if a step makes a hard link to a
// file of an earlier layer: its layer then contains all names of that file.
const Overlayfs = "overlayfs"

// OtherSnapshotter explains a MISMATCH on an engine with another snapshotter.
func OtherSnapshotter(name string) string {
	return fmt.Sprintf("the engine stacks layers with %q, which gives other bytes than overlayfs if a step hard-links a file of an earlier layer", name)
}

// Snapshotter returns the engine's snapshotter, which stacks layers: [Overlayfs],
// "native", ….
func (b *Builder) Snapshotter(ctx context.Context) (string, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	workers, err := b.conn.Client.ListWorkers(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the engine how it stacks layers: %w", err)
	}
	if len(workers) == 0 {
		return "", fmt.Errorf("the engine has no worker, so it cannot build")
	}
	return workers[0].Labels[label.Snapshotter], nil // the first is the one that builds
}

// CheckPlatforms returns an error for the first platform whose programs the engine cannot
// run: an *UnfitError, or an *EngineError of an engine elsewhere.
func (b *Builder) CheckPlatforms(ctx context.Context, want []string) error {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	workers, err := b.conn.Client.ListWorkers(ctx)
	if err != nil {
		return fmt.Errorf("asking the engine for its platforms: %w", err)
	}
	var have []string
	for _, w := range workers {
		have = append(have, b.conn.platforms(w)...)
	}
	err = CheckPlatforms(have, want)
	var unfit *UnfitError
	if b.conn.Elsewhere && errors.As(err, &unfit) {
		return &EngineError{EngineName(b.Engine), unfit.Problem, unfit.Remedy}
	}
	return err
}

// platforms returns the platforms that a worker of the engine builds for.
func (c *Conn) platforms(w *client.WorkerInfo) (names []string) {
	for _, p := range w.Platforms {
		names = append(names, platforms.Format(platforms.Normalize(p)))
	}
	if c.Hides386 && slices.Contains(names, "linux/amd64") {
		names = append(names, "linux/386")
	}
	return names
}

// CheckPlatforms returns an *UnfitError for the first platform of want that is not in
// have.
func CheckPlatforms(have, want []string) error {
	for _, w := range want {
		p, err := platforms.Parse(w)
		if err != nil {
			return fmt.Errorf("reading the platform %q: %w", w, err)
		}
		if !slices.Contains(have, platforms.Format(platforms.Normalize(p))) {
			return &UnfitError{
				fmt.Sprintf("the engine runs programs of %s, not of %s", strings.Join(have, ", "), w),
				platformRemedy(w),
			}
		}
	}
	return nil
}

func platformRemedy(p string) string {
	if p == "linux/386" {
		return "use an x86-64 kernel with CONFIG_IA32_EMULATION (boot option ia32_emulation=1)"
	}
	return "install qemu-user-static with binfmt support for it, or build on such a machine"
}

// link hard-links blobs into the engine's own folder, so that they need not be sent
// through the session. A failure is harmless: the session serves them.
func (b *Builder) link(ds []oci.Digest) {
	if b.conn.ContentDir == "" {
		return
	}
	for _, d := range ds {
		if err := b.linkBlob(d); err != nil {
			b.log.Debug("copying a dependency instead of linking it", zap.Stringer("digest", d), zap.Error(err))
		}
	}
}

// linkBlob links a verified blob into the engine's folder, and replaces one that is
// there: it may be the inode of a layout that was damaged and replaced since.
func (b *Builder) linkBlob(d oci.Digest) error {
	theirs := filepath.Join(b.conn.ContentDir, d.Hex())
	err := b.store.Link(d, theirs)
	if !os.IsExist(err) {
		return err
	}
	ours, err := b.store.BlobPath(d)
	if err != nil {
		return err
	}
	a, err := os.Stat(ours)
	if err != nil {
		return err
	}
	if c, err := os.Stat(theirs); err == nil && os.SameFile(a, c) {
		return nil
	}
	if err := os.Remove(theirs); err != nil && !os.IsNotExist(err) {
		return err
	}
	return b.store.Link(d, theirs)
}

// watchInterval is the interval between requests to an engine, to see if it answers.
const watchInterval = 15 * time.Second

// Silence is how long an engine may take to answer during a build. It is long, because a
// swapping machine or a slow connection full of layers should not end hours of building. A
// connection that was cut shows earlier, see [link.Silence].
const Silence = 2 * time.Minute

// watch closes the connection to an engine that stopped answering. Without it, builds
// would wait for ever after a cable is pulled or the engine hangs. They fail with a
// *LostError instead, and are tried again.
func (b *Builder) watch(ctx context.Context, interval, patience time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.ended:
			return
		case <-tick.C:
		}
		if !b.answers(ctx, patience) && ctx.Err() == nil {
			b.log.Warn("the engine does not answer; closing the connection")
			b.conn.Client.Close()
			return
		}
	}
}

// watchLink closes the connection to an engine whose machine was cut off, which cut waits
// for.
func (b *Builder) watchLink(ctx context.Context, cut func(ctx context.Context, ended <-chan struct{}) bool) {
	if cut(ctx, b.ended) {
		b.log.Warn("the engine's machine has acknowledged nothing for " + link.Silence.String() + "; closing the connection")
		b.conn.Client.Close()
	}
}

// answers reports whether the engine answers within patience, even with an error.
func (b *Builder) answers(ctx context.Context, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := b.conn.Client.Info(ctx)
	return err == nil || ctx.Err() == nil
}
