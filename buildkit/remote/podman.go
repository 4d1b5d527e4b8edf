package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// Podman is a buildkitd in a container of the user's podman. sx creates the container if
// it is missing, and keeps it. Podman's own builder, buildah, is never used: it makes
// other bytes.
type Podman struct {
	// Image has buildkitd, buildctl and runc, with buildkitd as entrypoint; "":
	// [PodmanImage].
	Image string
}

var _ buildkit.Engine = (*Podman)(nil)

// PodmanImage returns BuildKit's own image, of the version inside sx.
func PodmanImage() string { return "docker.io/moby/buildkit:" + buildkit.Version() }

// podmanLabel marks the containers that sx created.
const podmanLabel = "stagex.sx=engine"

// Kind implements [buildkit.Engine].
func (p *Podman) Kind() string { return "podman" }

func (p *Podman) image() string {
	if p.Image != "" {
		return p.Image
	}
	return PodmanImage()
}

// args returns arguments of podman run. The container is privileged because BuildKit
// mounts and creates namespaces (with a rootless podman: within the user's). It has the
// host's network, like builds of the embedded engine.
func (p *Podman) args() []string {
	return []string{"--privileged", "--network=host", "--label=" + podmanLabel}
}

// limits returns arguments that set the limits of this process. Podman's defaults may be
// higher, which needs CAP_SYS_RESOURCE. On other systems than Linux podman runs in a
// virtual machine with limits of its own.
func limits() (args []string) {
	if runtime.GOOS != "linux" {
		return nil
	}
	for _, limit := range []struct {
		name  string
		which int
		most  uint64
	}{{"nofile", unix.RLIMIT_NOFILE, 1 << 20}, {"nproc", unix.RLIMIT_NPROC, 30000}} {
		var l unix.Rlimit
		if err := unix.Getrlimit(limit.which, &l); err == nil {
			n := min(l.Max, limit.most)
			args = append(args, fmt.Sprintf("--ulimit=%s=%d:%d", limit.name, n, n))
		}
	}
	return args
}

// name returns the container's name. It depends on the image, so that two versions of sx
// use different containers and do not stop each other's builds.
func (p *Podman) name() string {
	sum := sha256.Sum256([]byte(strings.Join(append(p.args(), p.image()), "\x00")))
	return "sx-buildkit-" + hex.EncodeToString(sum[:4])
}

// podmanStart is how long a started container may take to answer.
const podmanStart = 30 * time.Second

// podmanPoll is the interval between attempts to connect to it.
const podmanPoll = 200 * time.Millisecond

// Connect implements [buildkit.Engine].
func (p *Podman) Connect(ctx context.Context) (*buildkit.Conn, error) {
	if err := findClient("podman"); err != nil {
		return nil, &buildkit.EngineError{Engine: "podman", Problem: err.Error(), Remedy: clientRemedy("podman")}
	}
	r, err := NewBuildkitd("podman-container://"+p.name(), TLS{})
	if err != nil {
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		conn, err := r.Connect(ctx)
		if err == nil || time.Since(began) > podmanStart {
			return conn, err
		}
		if state, serr := p.state(ctx); serr == nil && state != "running" {
			return nil, p.ended(ctx)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(podmanPoll):
		}
	}
}

// start starts the container, and creates it first if it does not exist.
func (p *Podman) start(ctx context.Context) error {
	state, err := p.state(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case state == "running":
		return nil
	case err == nil:
		if _, err := podman(ctx, "container", "start", p.name()); err != nil {
			return &buildkit.EngineError{Engine: "podman", Problem: err.Error(), Remedy: "remove the container, so that sx creates another: podman rm -f " + p.name()}
		}
		return nil
	case !noContainer(err):
		return &buildkit.EngineError{Engine: "podman", Problem: err.Error(), Remedy: "make podman info work for this user"}
	}
	args := append([]string{"run", "--detach", "--name=" + p.name(), "--volume=" + p.name() + ":/var/lib/buildkit"}, p.args()...)
	_, err = podman(ctx, slices.Concat(args, limits(), []string{p.image()})...)
	if err == nil {
		return nil
	}
	if state, _ := p.state(ctx); state == "running" { // another sx has started it
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &buildkit.EngineError{Engine: "podman", Problem: "it cannot run a container of " + p.image() + ": " + err.Error(),
		Remedy: "see whether podman pull " + p.image() + " works, or name another image of BuildKit in engine.podman_image of your stagex.toml"}
}

// state returns the container's state, such as "running" or "exited".
func (p *Podman) state(ctx context.Context) (string, error) {
	return podman(ctx, "container", "inspect", "--format={{.State.Status}}", p.name())
}

// ended returns why the container stopped by itself.
func (p *Podman) ended(ctx context.Context) error {
	log, err := podman(ctx, "logs", "--tail=3", p.name())
	if err != nil {
		log = err.Error()
	}
	return &buildkit.EngineError{Engine: "podman", Problem: fmt.Sprintf("buildkitd in the container ended: %s", lastLine(log)), Remedy: "see podman logs " + p.name()}
}

// podman runs podman and returns its output. The error is the last line on stderr. Podman
// runs in a session of its own, like the programs that carry connections: the first Ctrl-C
// is for sx alone, and does not end the pulling of an image.
func podman(ctx context.Context, args ...string) (string, error) {
	if args[0] == "run" { // which may pull an image
		return runPodman(ctx, args...)
	}
	return podmanWithin(ctx, buildkit.Silence, args...)
}

// podmanWithin is podman with a time limit.
func podmanWithin(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("podman %s did not answer within %s", args[0], limit))
	defer cancel()
	return runPodman(ctx, args...)
}

func runPodman(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "podman", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = clientEnd
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && stderr.Len() > 0 {
		err = errors.New(lastLine(stderr.String()))
	}
	if len(args) > 0 && args[0] == "logs" { // the container logs to stderr
		return string(out) + stderr.String(), err
	}
	return strings.TrimSpace(string(out)), err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
