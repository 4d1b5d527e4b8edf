package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/version"
	"github.com/moby/sys/userns"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded/spans"
	"codeberg.org/stagex/sx/buildkit/embedded/worker"
)

// linger is how long the engine waits for another sx after the last one left:
// long enough that a packager's next build finds it warm.
const linger = 3 * time.Second

// firstWait bounds how long a started engine waits for its first client.
const firstWait = 15 * time.Second

// readyWord is what the child writes when it listens; anything else it writes
// is the reason why it cannot.
const readyWord = "ready"

// facts are what a client must know of a live engine; paths are relative to
// the engine's folder. `sx engine` shows the rest, also that of another build.
type facts struct {
	State, ContentDir, RuncLog string
	UserNS                     bool

	Since             time.Time
	BuildKit          string
	Runc, Snapshotter string
	Platforms         []string
}

func factsName(id string) string { return id + ".json" }

func readFacts(dir, id string) (facts, error) {
	var f facts
	data, err := os.ReadFile(filepath.Join(dir, factsName(id)))
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}

// ServeChild is the main function of the engine child: it runs BuildKit until
// no sx holds a connection, and returns the exit code. Descriptor 3 is the
// held lock, 4 the pipe that tells the parent how the start went.
func ServeChild(config string) int {
	ready := os.NewFile(4, "ready")
	if ready == nil {
		fmt.Fprintln(os.Stderr, "sx: this is the engine's half of sx; it is started by `sx build`")
		return 2
	}
	err := runTask(config, ready)
	if err == nil {
		return 0
	}
	var unfit *buildkit.UnfitError
	if errors.As(err, &unfit) {
		json.NewEncoder(ready).Encode(unfit)
	} else {
		fmt.Fprint(ready, err)
	}
	logrus.Error(err)
	return 1
}

func runTask(config string, ready *os.File) error {
	var cfg childConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return fmt.Errorf("reading the engine's configuration: %w", err)
	}
	if cfg.Enter {
		return enterUserNS(cfg)
	}
	for fd := 3; fd <= mappedFD; fd++ {
		unix.CloseOnExec(fd)
	}
	switch cfg.Task {
	case taskServe:
		return serveChild(cfg, ready)
	case taskRemove:
		return removeTask(cfg, ready)
	case taskMeasure:
		return measureTask(cfg, ready)
	}
	return fmt.Errorf("there is no task %q", cfg.Task)
}

func serveChild(cfg childConfig, ready *os.File) error {
	unix.Umask(0o022)
	liftLimits()
	logrus.SetLevel(logrus.WarnLevel)
	version.Version = buildkit.Version()
	if err := isolate(cfg); err != nil {
		return refusedMounts(cfg, err)
	}
	if err := makeBin(cfg); err != nil {
		return err
	}
	w, err := worker.Open(worker.Options{Dir: cfg.Dir, Snapshotter: cfg.Snapshotter, Maps: cfg.Maps, CacheSize: cfg.CacheSize, StandardGzip: cfg.StandardGzip,
		Runc: runcName(cfg.Vary), Hostname: hostname(cfg.Vary)})
	if err != nil {
		return err
	}
	defer w.Close()

	lis, err := listen(cfg)
	if err != nil {
		return err
	}
	about := facts{
		State: rel(cfg.Dir, w.Root), ContentDir: rel(cfg.Dir, w.ContentDir), RuncLog: rel(cfg.Dir, w.RuncLog),
		UserNS: userns.RunningInUserNS(),
		Since:  time.Now(), BuildKit: buildkit.Version(), Runc: cfg.Runc, Snapshotter: w.Snapshotter, Platforms: w.Platforms,
	}
	if err := writeFacts(cfg, about); err != nil {
		return err
	}
	srv := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcerrors.UnaryServerInterceptor, spans.Intercept(w.Sessions)),
		grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
	)
	w.Controller.Register(srv)

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	clients, err := newClientsFile(cfg.Dir, cfg.ID)
	if err != nil {
		return err
	}
	counted := newCounted(lis, srv.Stop, clients.write)
	go func() { <-ctx.Done(); counted.end() }()
	if _, err := ready.WriteString(readyWord); err != nil {
		return fmt.Errorf("telling sx that the engine is ready: %w", err)
	}
	ready.Close()
	if err := srv.Serve(counted); err != nil && !errors.Is(err, grpc.ErrServerStopped) && !counted.ended() {
		return err
	}
	return nil
}

func rel(base, path string) string {
	r, err := filepath.Rel(base, path)
	if err != nil {
		return path
	}
	return r
}

// listen removes what dead engines left under the lock and opens the socket.
func listen(cfg childConfig) (net.Listener, error) {
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".sock", ".json", ".clients":
			os.Remove(filepath.Join(cfg.Dir, e.Name()))
		}
	}
	dir, err := os.Open(cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	lis, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName(cfg.ID)))
	if err != nil {
		return nil, fmt.Errorf("opening the engine's socket: %w", err)
	}
	// The path through the descriptor is gone once dir is closed; the next
	// engine removes the file.
	lis.(*net.UnixListener).SetUnlinkOnClose(false)
	return lis, nil
}

func writeFacts(cfg childConfig, f facts) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	tmp := filepath.Join(cfg.Dir, factsName(cfg.ID)+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(cfg.Dir, factsName(cfg.ID)))
}
