package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	dockercontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/moby/moby/api/types/system"
	moby "github.com/moby/moby/client"
	"golang.org/x/mod/semver"
)

// Docker is the BuildKit inside a dockerd. Which dockerd is said as to the
// docker client: DOCKER_HOST, DOCKER_CONTEXT, or the current context.
type Docker struct{}

var _ Engine = Docker{}

// oldestDocker is what upstream asks for; what is older makes other bytes.
const oldestDocker = "29.1.5"

// Kind implements [Engine].
func (Docker) Kind() string { return "docker" }

// String tells where it is, as docker would be told.
func (Docker) String() string {
	where, _, _ := dockerEndpoint()
	return where
}

// Connect implements [Engine]. BuildKit's API is behind an upgrade of dockerd's
// own (POST /grpc), and needs the containerd image store: without it dockerd's
// BuildKit has no OCI exporter.
func (Docker) Connect(ctx context.Context) (*Conn, error) {
	where, opts, err := dockerEndpoint()
	if err != nil {
		return nil, &EngineError{where, err.Error(), "see docker context ls; DOCKER_HOST names a dockerd too"}
	}
	api, err := moby.New(opts...)
	if err != nil {
		return nil, &EngineError{where, err.Error(), "check DOCKER_HOST, or the context (docker context inspect)"}
	}
	defer api.Close() // its idle connections; those below are not its
	ictx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	info, err := api.Info(ictx, moby.InfoOptions{})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	} else if err != nil {
		return nil, dockerRefusal(where, err)
	}
	if err := dockerFit(where, info.Info); err != nil {
		return nil, err
	}
	c, err := connect(ctx, func(ctx context.Context) (net.Conn, error) {
		return api.DialHijack(ctx, "/grpc", "h2c", nil)
	})
	if err != nil {
		return nil, &EngineError{where, "its BuildKit does not answer (" + rootMessage(err) + ")", "see dockerd's log"}
	}
	c.Hides386 = true
	return c, nil
}

// dockerFit refuses a dockerd whose BuildKit could not build StageX.
func dockerFit(where string, info system.Info) error {
	if v := "v" + info.ServerVersion; semver.IsValid(v) && semver.Compare(v, "v"+oldestDocker) < 0 {
		return &EngineError{where, fmt.Sprintf("it is Docker %s, whose BuildKit makes other bytes than StageX's", info.ServerVersion),
			"install Docker " + oldestDocker + " or newer, or build with --engine embedded"}
	}
	for _, kv := range info.DriverStatus {
		if kv[0] == "driver-type" && strings.HasPrefix(kv[1], "io.containerd.snapshotter") {
			return nil
		}
	}
	return &EngineError{where, "it keeps images in the old store (" + info.Driver + "), from which BuildKit cannot export OCI layouts",
		`set {"features": {"containerd-snapshotter": true}} in its daemon.json and restart it: images made before are hidden until it is unset`}
}

// dockerRefusal explains why dockerd could not be asked.
func dockerRefusal(where string, err error) error {
	exit, said, ok := clientExit(err)
	switch {
	case ok:
		return &EngineError{where, fmt.Sprintf("ssh says: %s (%s)", said, exit), "make docker info work there: DOCKER_HOST and docker contexts are read as docker reads them"}
	case errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "permission denied"):
		return &EngineError{where, "this user may not open its socket", "run sx as root, or as a member of the socket's group (docker)"}
	case errors.Is(err, exec.ErrNotFound):
		return &EngineError{where, findClient("ssh").Error(), clientRemedy("ssh")}
	case errors.Is(err, context.DeadlineExceeded):
		return &EngineError{where, "it does not answer", "check DOCKER_HOST, or the context (docker context ls)"}
	}
	if why, ok := tlsRefusal(err); ok {
		return &EngineError{where, why.problem, "check DOCKER_CERT_PATH, or the context's certificates"}
	}
	return &EngineError{where, "no dockerd answers there", "start it, or name another by DOCKER_HOST or docker context use"}
}

// dockerEndpoint reads which dockerd the docker client would take (docker/cli:
// cli/command, resolveContextName), and names it for messages.
func dockerEndpoint() (where string, opts []moby.Opt, err error) {
	if host := os.Getenv(moby.EnvOverrideHost); host != "" {
		return dockerDefault(host)
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		file, err := config.Load(config.Dir())
		if err != nil {
			return "docker", nil, err
		}
		name = file.CurrentContext
	}
	if name == "" || name == "default" {
		return dockerDefault("")
	}
	where = "docker (context " + name + ")"
	s := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockercontext.DockerEndpoint, func() any { return &dockercontext.EndpointMeta{} })))
	meta, err := s.GetMetadata(name)
	if errdefs.IsNotFound(err) {
		return where, nil, errors.New("there is no such context")
	} else if err != nil {
		return where, nil, err
	}
	endpoint, err := dockercontext.EndpointFromContext(meta)
	if err != nil {
		return where, nil, err
	}
	full, err := dockercontext.WithTLSData(s, name, endpoint)
	if err != nil {
		return where, nil, err
	}
	opts, err = full.ClientOpts()
	return where + " at " + endpoint.Host, opts, err
}

// dockerDefault is the dockerd at host, or the usual one; DOCKER_TLS_VERIFY,
// DOCKER_CERT_PATH and DOCKER_API_VERSION count as they do for docker.
func dockerDefault(host string) (where string, opts []moby.Opt, err error) {
	if host == "" {
		return "docker at " + moby.DefaultDockerHost, []moby.Opt{moby.FromEnv}, nil
	}
	where = "docker at " + host
	helper, err := connhelper.GetConnectionHelper(host)
	switch {
	case err != nil:
		return where, nil, err
	case helper == nil:
		return where, []moby.Opt{moby.FromEnv}, nil
	}
	return where, []moby.Opt{
		moby.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
		moby.WithHost(helper.Host), moby.WithDialContext(helper.Dialer), moby.WithAPIVersionFromEnv(),
	}, nil
}
