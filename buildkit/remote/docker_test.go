package remote

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/buildkit"
	"github.com/docker/cli/cli/config"
)

// fakeDockerd answers at a socket as a dockerd of a version and a store would,
// but for BuildKit's API.
func fakeDockerd(t *testing.T, version, driverStatus string) (host string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sx-dockerd-") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	lis, err := net.Listen("unix", filepath.Join(dir, "sock"))
	must(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.50")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			fmt.Fprint(w, "OK")
		case strings.HasSuffix(r.URL.Path, "/info"):
			fmt.Fprintf(w, `{"ServerVersion": %q, "Driver": "overlay2", "DriverStatus": %s}`, version, driverStatus)
		default:
			http.NotFound(w, r)
		}
	})}
	go srv.Serve(lis) // ended by Close
	t.Cleanup(func() { srv.Close() })
	return "unix://" + lis.Addr().String()
}

const containerdStore = `[["driver-type", "io.containerd.snapshotter.v1"]]`

// What keeps a dockerd from building StageX is said with the way out.
func TestDockerUnfit(t *testing.T) {
	for _, c := range []struct{ version, store, want string }{
		{"28.5.2", containerdStore, "it is Docker 28.5.2, whose BuildKit does not produce StageX's bytes; install Docker 29.1.5 or newer"},
		{"29.1.5", `[["Backing Filesystem", "extfs"]]`, `it keeps images in the old store (overlay2), from which BuildKit cannot export OCI layouts; set {"features": {"containerd-snapshotter": true}} in its daemon.json`},
		{"29.1.5", containerdStore, "its BuildKit does not answer"},
	} {
		host := fakeDockerd(t, c.version, c.store)
		t.Setenv("DOCKER_HOST", host)
		wantDocker(t, "docker at "+host, c.want)
	}
	t.Setenv("DOCKER_HOST", "unix:///none/docker.sock")
	wantDocker(t, "docker at unix:///none/docker.sock", "no dockerd answers there; start it, or name another")
}

// Which dockerd is taken is what docker itself would take.
func TestDockerContexts(t *testing.T) {
	dir := t.TempDir()
	was := config.Dir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(was) })
	context := func(name string) string {
		host := fakeDockerd(t, "28.0.0", containerdStore)
		meta := filepath.Join(dir, "contexts", "meta", fmt.Sprintf("%x", sha256.Sum256([]byte(name))), "meta.json")
		must(t, os.MkdirAll(filepath.Dir(meta), 0o755))
		must(t, os.WriteFile(meta, fmt.Appendf(nil, `{"Name": %q, "Metadata": {}, "Endpoints": {"docker": {"Host": %q}}}`, name, host), 0o600))
		return host
	}
	current, other := context("current"), context("other")
	must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext": "current"}`), 0o600))
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
	wantDocker(t, "docker (context current) at "+current, "it is Docker 28.0.0")
	t.Setenv("DOCKER_CONTEXT", "other")
	wantDocker(t, "docker (context other) at "+other, "it is Docker 28.0.0")
	t.Setenv("DOCKER_CONTEXT", "missing")
	wantDocker(t, "docker (context missing)", "there is no such context; see docker context ls")
	host := fakeDockerd(t, "27.0.0", containerdStore)
	t.Setenv("DOCKER_HOST", host)
	wantDocker(t, "docker at "+host, "it is Docker 27.0.0")
}

// Whether the network can change a build is told from docker's settings, and a docker
// that is set to use TLS is reached with it.
func TestDockerPlain(t *testing.T) {
	dir := t.TempDir()
	was := config.Dir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir(was) })
	t.Setenv("DOCKER_CONTEXT", "")
	for _, c := range []struct {
		host, verify, certs string
		plain               bool
	}{
		{"tcp://h:2375", "", "", true},
		{"tcp://h:2376", "", dir, true}, // encrypted, but to anybody
		{"tcp://h:2376", "1", dir, false},
		{"tcp://h:2376", "1", "", false},
		{"http://h:2375", "", "", true},
		{"tcp://127.0.0.1:2375", "", "", false},
		{"tcp://[::1]:2375", "", "", false},
		{"ssh://h", "", "", false},
		{"unix:///run/docker.sock", "", "", false},
		{"", "", "", false},
	} {
		t.Setenv("DOCKER_HOST", c.host)
		t.Setenv("DOCKER_TLS_VERIFY", c.verify)
		t.Setenv("DOCKER_CERT_PATH", c.certs)
		if got := (Docker{}).Plain(); got != c.plain {
			t.Errorf("%+v: plain is %t", c, got)
		}
	}
	t.Setenv("DOCKER_HOST", "tcp://h:2376")
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	t.Setenv("DOCKER_CERT_PATH", "")
	wantDocker(t, "docker at tcp://h:2376", filepath.Join(dir, "ca.pem")) // which docker reads, too
}

func wantDocker(t *testing.T, engine, want string) {
	t.Helper()
	_, err := Docker{}.Connect(t.Context())
	var refused *buildkit.EngineError
	if !errors.As(err, &refused) || refused.Engine != engine || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s: %s", err, engine, want)
	}
}
