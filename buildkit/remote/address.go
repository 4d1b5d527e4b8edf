package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/buildkit/client/connhelper"
	"github.com/moby/buildkit/client/connhelper/dockercontainer"
	"github.com/moby/buildkit/client/connhelper/podmancontainer"
	"github.com/moby/buildkit/client/connhelper/ssh"

	"codeberg.org/stagex/sx/buildkit"
)

// Buildkitd is a buildkitd at an address: on another machine, in a container, or on this
// machine but not started by sx.
type Buildkitd struct {
	address string
	scheme  string
	dial    buildkit.Dialer
	client  string // the program that carries the connection; "" if none does
	plain   bool   // over a network and not encrypted
}

var _ buildkit.Engine = (*Buildkitd)(nil)

// addressForms lists the addresses of engines elsewhere. Package kubernetes has those of
// pods.
const addressForms = "unix:///PATH, tcp://HOST:PORT, ssh://[USER@]HOST[:PORT][/SOCKET], docker-container://NAME, podman-container://NAME, kube-pod://POD or kubernetes://[CONTEXT/]NAMESPACE/NAME"

// NewBuildkitd parses an address in the form of buildctl's --addr. tls is used only for
// tcp://; its files are read when a connection is opened.
func NewBuildkitd(address string, tls TLS) (*Buildkitd, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	r := &Buildkitd{address: u.Redacted(), scheme: u.Scheme}
	if _, ok := u.User.Password(); ok {
		return nil, errors.New("an address must not hold a password: log in by a key or an agent")
	}
	switch u.Scheme {
	case "unix":
		err = r.unix(u)
	case "tcp":
		err = r.tcp(u, tls)
	case "ssh":
		err = r.through("ssh", ssh.Helper, u)
	case "docker-container":
		err = r.through("docker", dockercontainer.Helper, u)
	case "podman-container":
		err = r.through("podman", podmancontainer.Helper, u)
	default:
		err = fmt.Errorf("want %s", addressForms)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Buildkitd) unix(u *url.URL) error {
	if u.Host != "" || !filepath.IsAbs(u.Path) {
		return fmt.Errorf("want unix:// and an absolute path (unix:///run/buildkit/buildkitd.sock)")
	}
	r.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", u.Path)
	}
	return nil
}

func (r *Buildkitd) tcp(u *url.URL, tls TLS) error {
	host, port := u.Hostname(), u.Port()
	switch {
	case host == "" || port == "":
		return fmt.Errorf("want tcp://HOST:PORT (buildkitd's port is usually 1234)")
	case strings.Contains(host, ":") && !strings.HasPrefix(u.Host, "["):
		return fmt.Errorf("an IPv6 address must be in brackets: tcp://[ADDRESS]:PORT")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return fmt.Errorf("want only tcp://HOST:PORT")
	}
	// The timeout is for a peer that was never there; [buildkit.Builder] detects one
	// that vanishes later.
	d := &net.Dialer{Timeout: dialTimeout}
	r.dial = func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", u.Host) }
	if tls.on() {
		r.dial = tls.over(r.dial, host)
	} else {
		r.plain = !loopback(host)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

const dialTimeout = 15 * time.Second

// through connects with a client program of the user. Its standard streams are the
// connection; it runs `buildctl dial-stdio` at the other end.
func (r *Buildkitd) through(program string, helper func(*url.URL) (*connhelper.ConnectionHelper, error), u *url.URL) error {
	h, err := helper(u)
	if err != nil {
		return err
	}
	r.client = program
	r.dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := h.ContextDialer(ctx, "")
		if err != nil {
			return nil, err
		}
		return &clientConn{conn}, nil
	}
	return nil
}

func (r *Buildkitd) String() string { return r.address }

// Kind implements [buildkit.Engine]: the address's scheme.
func (r *Buildkitd) Kind() string { return r.scheme }

// Plain reports whether the engine is reached over a network without TLS, so that an
// attacker on the network can change the build.
func (r *Buildkitd) Plain() bool { return r.plain }

// Connect implements [buildkit.Engine].
func (r *Buildkitd) Connect(ctx context.Context) (*buildkit.Conn, error) {
	if r.client != "" {
		if err := findClient(r.client); err != nil {
			return nil, &buildkit.EngineError{Engine: r.address, Problem: err.Error(), Remedy: clientRemedy(r.client)}
		}
	}
	c, err := buildkit.Connect(ctx, r.dial)
	if err != nil {
		return nil, r.explain(err)
	}
	return c, nil
}
