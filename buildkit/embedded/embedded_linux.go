package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/buildkit/client"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
)

// ChildArg is the first argument of a re-executed sx that is to be the engine
// ([ServeChild]) instead of the command line.
const ChildArg = "__engine"

// Invariants of the embedded engine.
//
//   - At most one engine child works in Dir: it holds an flock on Dir.lock for
//     its whole life, inherited from the sx that started it.
//   - Dir bears the mark of [cache.Store.Mark]: what came with a copied tree is
//     removed before anything in it is opened, because what the engine's cache
//     holds counts as built here.
//   - The socket's name carries the build id of sx, so that a client only ever
//     meets an engine of its own build; another build waits for the lock.
//   - The child is PID 1 of its own PID and mount namespace: however it dies,
//     every build process and mount dies with it.
//   - The child outlives the sx that started it only while another sx holds a
//     connection, and [linger] longer.

// Engine runs BuildKit in a re-executed sx.
type Engine struct {
	// Dir holds the engine's state, socket and log, and nothing else. It
	// should be on the filesystem of out/, or blobs are copied.
	Dir   string
	Store *cache.Store // marks Dir
	// Runc is the runtime's path; empty: "runc" from PATH.
	Runc string
	// Snapshotter is "overlayfs", "native" or "auto" (empty: auto).
	Snapshotter string
	// CacheSize bounds the engine's own cache in bytes; 0 means 50 GB.
	CacheSize int64
	// StandardGzip has layers compressed by the standard library, not by gogzip.
	StandardGzip bool
	// Vary is what every RUN sees otherwise than StageX's builds do. Such an engine makes
	// other bytes, so its Dir must be its own.
	Vary []buildkit.Variation
	// Executable is the sx to run; empty: this one.
	Executable string
	// Waiting, when set, is called once if another sx of a different build
	// holds the engine and Connect has to wait for it.
	Waiting func()
	Log     *zap.Logger

	limits limits // of a test; zero: the usual ones
}

// limits bound how long another process may take.
type limits struct {
	start  time.Duration // until an engine listens; 0: startTime
	answer time.Duration // until it answers; 0: buildkit.AnswerTime
}

func (l limits) starting() time.Duration  { return cmp.Or(l.start, startTime) }
func (l limits) answering() time.Duration { return cmp.Or(l.answer, buildkit.AnswerTime) }

var _ buildkit.Engine = (*Engine)(nil)

// Kind implements [Engine].
func (e *Engine) Kind() string { return buildkit.EmbeddedKind }

// pollInterval is how often Connect looks again while another process starts,
// ends or holds the engine; dialling costs microseconds.
const pollInterval = 20 * time.Millisecond

// Connect implements [Engine]: it attaches to the live engine of this build of
// sx, or starts one.
func (e *Engine) Connect(ctx context.Context) (*buildkit.Conn, error) {
	id, err := buildID(e.executable())
	if err != nil {
		return nil, err
	}
	began, told := time.Now(), false
	for {
		conn, attachErr := e.attach(ctx, id)
		if attachErr == nil {
			return conn, nil
		} else if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		lock, err := tryLock(e.Dir + ".lock")
		if err != nil {
			return nil, fmt.Errorf("locking the engine's folder %q: %w", e.Dir, err)
		}
		if lock != nil {
			err := e.start(ctx, id, lock)
			lock.Close()
			if err != nil {
				return nil, err
			}
			if conn, err := e.attach(ctx, id); err == nil {
				return conn, nil
			} else if time.Since(began) > e.limits.answering() {
				return nil, fmt.Errorf("connecting to the engine: %w", err)
			}
			continue
		}
		waited := time.Since(began)
		if _, err := os.Stat(filepath.Join(e.Dir, socketName(id))); err == nil && waited > e.limits.answering() {
			return nil, fmt.Errorf("the engine in %q does not answer: %w; sx engine stop --force ends it", e.Dir, attachErr)
		}
		if !told && waited > time.Second && e.Waiting != nil {
			told = true
			e.Waiting()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
}

// tryLock returns the locked file, or nil when another process holds it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}

// attach dials the engine's socket and makes sure that it answers.
func (e *Engine) attach(ctx context.Context, id string) (*buildkit.Conn, error) {
	if !e.Store.Marked(e.Dir) {
		return nil, fmt.Errorf("no engine of this user ever ran in %q", e.Dir)
	}
	nc, err := e.dial(ctx, id)
	if err != nil {
		return nil, err
	}
	nc.Close() // only now: gRPC waits a second after a first refused dial
	c, err := client.New(ctx, "passthrough:///embedded",
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return e.dial(ctx, id) }),
		// The connection is what keeps the engine alive: never idle it away.
		client.WithGRPCDialOption(grpc.WithIdleTimeout(0)),
	)
	if err != nil {
		return nil, err
	}
	ictx, cancel := context.WithTimeout(ctx, min(5*time.Second, e.limits.answering()))
	defer cancel()
	if _, err := c.Info(ictx); err != nil {
		c.Close()
		return nil, err
	}
	facts, err := readFacts(e.Dir, id)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &buildkit.Conn{
		Client:     c,
		ContentDir: filepath.Join(e.Dir, facts.ContentDir),
		RuncLog:    filepath.Join(e.Dir, facts.RuncLog),
		ProbeFile:  filepath.Join(e.Dir, facts.State, "probe-"+id),
		UserNS:     facts.UserNS,
	}, nil
}

// dial goes through the folder's descriptor, because a socket's path may have
// at most 107 bytes and a tree may lie deeper than that.
func (e *Engine) dial(ctx context.Context, id string) (net.Conn, error) {
	dir, err := os.Open(e.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName(id)))
}

func socketName(id string) string { return id + ".sock" }

func (e *Engine) executable() string {
	if e.Executable != "" {
		return e.Executable
	}
	return "/proc/self/exe"
}
