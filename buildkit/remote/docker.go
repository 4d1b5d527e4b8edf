package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	dockercontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/moby/moby/api/types/system"
	moby "github.com/moby/moby/client"
	"golang.org/x/mod/semver"

	"codeberg.org/stagex/sx/buildkit"
)

// Docker is the BuildKit inside a dockerd. The dockerd is selected as for the docker
// client: by DOCKER_HOST, DOCKER_CONTEXT, or the current context.
type Docker struct{}

var _ buildkit.Engine = Docker{}

// oldestDocker is the version that upstream requires; older ones make other bytes.
const oldestDocker = "29.1.5"

// Kind implements [buildkit.Engine].
func (Docker) Kind() string { return "docker" }

// String returns which dockerd it is, for messages.
func (Docker) String() string {
	d, _ := dockerEndpoint()
	return d.where
}

// Plain reports whether the dockerd is reached over a network without verified TLS, so
// that an attacker on the network can change the build.
func (Docker) Plain() bool {
	d, _ := dockerEndpoint()
	return d.plain
}

// Connect implements [buildkit.Engine]. BuildKit's API is reached by an upgrade of a
// request to dockerd (POST /grpc). It needs the containerd image store: without it,
// dockerd's BuildKit has no OCI exporter.
func (Docker) Connect(ctx context.Context) (*buildkit.Conn, error) {
	d, err := dockerEndpoint()
	where := d.where
	if err != nil {
		return nil, &buildkit.EngineError{Engine: where, Problem: err.Error(), Remedy: "see docker context ls; DOCKER_HOST names a dockerd too"}
	}
	api, err := moby.New(d.opts...)
	if err != nil {
		return nil, &buildkit.EngineError{Engine: where, Problem: err.Error(), Remedy: "check DOCKER_HOST, or the context (docker context inspect)"}
	}
	defer api.Close() // closes idle connections, not those of DialHijack
	ictx, cancel := context.WithTimeout(ctx, buildkit.AnswerTime)
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
	c, err := buildkit.Connect(ctx, func(ctx context.Context) (net.Conn, error) {
		return api.DialHijack(ctx, "/grpc", "h2c", nil)
	})
	if err != nil {
		return nil, &buildkit.EngineError{Engine: where, Problem: "its BuildKit does not answer (" + buildkit.RootMessage(err) + ")", Remedy: "see dockerd's log"}
	}
	c.Hides386 = true
	return c, nil
}

// dockerFit returns an error for a dockerd whose BuildKit cannot build StageX.
func dockerFit(where string, info system.Info) error {
	if v := "v" + info.ServerVersion; semver.IsValid(v) && semver.Compare(v, "v"+oldestDocker) < 0 {
		return &buildkit.EngineError{Engine: where, Problem: fmt.Sprintf("it is Docker %s, whose BuildKit does not produce StageX's bytes", info.ServerVersion),
			Remedy: "install Docker " + oldestDocker + " or newer, or build with --engine embedded"}
	}
	for _, kv := range info.DriverStatus {
		if kv[0] == "driver-type" && strings.HasPrefix(kv[1], "io.containerd.snapshotter") {
			return nil
		}
	}
	return &buildkit.EngineError{Engine: where, Problem: "it keeps images in the old store (" + info.Driver + "), from which BuildKit cannot export OCI layouts",
		Remedy: `set {"features": {"containerd-snapshotter": true}} in its daemon.json and restart it: images made before are hidden until it is unset`}
}

// dockerRefusal explains why dockerd did not answer.
func dockerRefusal(where string, err error) error {
	exit, said, ok := clientExit(err)
	switch {
	case ok:
		return &buildkit.EngineError{Engine: where, Problem: fmt.Sprintf("ssh says: %s (%s)", said, exit), Remedy: "make docker info work there: DOCKER_HOST and docker contexts are read as docker reads them"}
	case errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "permission denied"):
		return &buildkit.EngineError{Engine: where, Problem: "this user may not open its socket", Remedy: "run sx as root, or as a member of the socket's group (docker)"}
	case errors.Is(err, exec.ErrNotFound):
		return &buildkit.EngineError{Engine: where, Problem: findClient("ssh").Error(), Remedy: clientRemedy("ssh")}
	case errors.Is(err, context.DeadlineExceeded):
		return &buildkit.EngineError{Engine: where, Problem: "it does not answer", Remedy: "check DOCKER_HOST, or the context (docker context ls)"}
	}
	if why, ok := tlsRefusal(err); ok {
		return &buildkit.EngineError{Engine: where, Problem: why.problem, Remedy: "check DOCKER_CERT_PATH, or the context's certificates"}
	}
	return &buildkit.EngineError{Engine: where, Problem: "no dockerd answers there", Remedy: "start it, or name another by DOCKER_HOST or docker context use"}
}

// dockerd is the one that the docker client would use.
type dockerd struct {
	where string // for messages
	opts  []moby.Opt
	plain bool // see [Docker.Plain]
}

// dockerEndpoint returns the dockerd that the docker client would use (docker/cli:
// cli/command, resolveContextName).
func dockerEndpoint() (d dockerd, err error) {
	if host := os.Getenv(moby.EnvOverrideHost); host != "" {
		return dockerDefault(host)
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		file, err := config.Load(config.Dir())
		if err != nil {
			return dockerd{where: "docker"}, err
		}
		name = file.CurrentContext
	}
	if name == "" || name == "default" {
		return dockerDefault("")
	}
	d.where = "docker (context " + name + ")"
	s := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockercontext.DockerEndpoint, func() any { return &dockercontext.EndpointMeta{} })))
	meta, err := s.GetMetadata(name)
	if errdefs.IsNotFound(err) {
		return d, errors.New("there is no such context")
	} else if err != nil {
		return d, err
	}
	endpoint, err := dockercontext.EndpointFromContext(meta)
	if err != nil {
		return d, err
	}
	full, err := dockercontext.WithTLSData(s, name, endpoint)
	if err != nil {
		return d, err
	}
	d.where += " at " + endpoint.Host
	d.plain = overNetwork(endpoint.Host) && (full.TLSData == nil || full.SkipTLSVerify)
	d.opts, err = full.ClientOpts()
	return d, err
}

// dockerDefault returns the dockerd at host, or the default one. DOCKER_TLS_VERIFY,
// DOCKER_CERT_PATH and DOCKER_API_VERSION have the same effect as for docker.
func dockerDefault(host string) (d dockerd, err error) {
	if host == "" {
		return dockerd{where: "docker at " + moby.DefaultDockerHost, opts: []moby.Opt{moby.FromEnv}}, nil
	}
	d = dockerd{where: "docker at " + host, opts: []moby.Opt{moby.FromEnv}}
	helper, err := connhelper.GetConnectionHelper(host)
	verify := os.Getenv(moby.EnvTLSVerify) != ""
	switch {
	case err != nil:
		return d, err
	case helper != nil:
		d.opts = []moby.Opt{
			moby.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
			moby.WithHost(helper.Host), moby.WithDialContext(helper.Dialer), moby.WithAPIVersionFromEnv(),
		}
		return d, nil
	case overNetwork(host) && verify && os.Getenv(moby.EnvOverrideCertPath) == "":
		// Moby's client would not encrypt at all; docker finds its certificates here.
		file := func(name string) string { return filepath.Join(config.Dir(), name) }
		d.opts = []moby.Opt{moby.WithTLSClientConfig(file("ca.pem"), file("cert.pem"), file("key.pem")), moby.WithHostFromEnv(), moby.WithAPIVersionFromEnv()}
	}
	d.plain = overNetwork(host) && !verify
	return d, nil
}

// overNetwork reports whether host is a port of another machine.
func overNetwork(host string) bool {
	u, err := url.Parse(host)
	return err == nil && (u.Scheme == "tcp" || u.Scheme == "http" || u.Scheme == "https") && !loopback(u.Hostname())
}
