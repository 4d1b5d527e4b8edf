//go:build linux

package cluster_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/buildkit/enginetest"
	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
	"codeberg.org/stagex/sx/preseed/registrytest"
)

const heavy = `
-- packages/core/heavy/package.toml --
[package]
name = "heavy"
version = "1"
-- packages/core/heavy/Containerfile --
FROM scratch
COPY noise /
-- packages/core/left/package.toml --
[package]
name = "left"
version = "1"
-- packages/core/left/Containerfile --
FROM stagex/core-heavy
COPY tool /
RUN --network=none ["/tool", "sleep", "2s", "MARK", ",", "write", "/left", "x"]
-- packages/core/right/package.toml --
[package]
name = "right"
version = "1"
-- packages/core/right/Containerfile --
FROM stagex/core-heavy
COPY tool /
RUN --network=none ["/tool", "sleep", "2s", "MARK", ",", "write", "/right", "x"]
`

// startHub starts a registry in the network of the cluster, whose certificate is of the
// authority in the returned file.
func startHub(t *testing.T, c *cluster.Cluster) (host, ca string) {
	t.Helper()
	registry, err := registrytest.Start(t.TempDir(), false)
	must(t, err)
	t.Cleanup(registry.Close)
	dir := enginetest.MutualTLS(t, net.ParseIP(cluster.HostIP))
	pair, err := tls.LoadX509KeyPair(dir+"/server.pem", dir+"/server-key.pem")
	must(t, err)
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: registry.Host})
		p.Out.Host = p.In.Host
		p.Out.Header.Set("X-Forwarded-Proto", "https")
	}})
	must(t, server.Listener.Close())
	server.Listener, err = c.Listen()
	must(t, err)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), filepath.Join(dir, "ca.pem")
}

// moved is what sx -v logs about a connection.
var moved = regexp.MustCompile(`\(bytes sent (\d+), bytes received (\d+)\)`)

// throughHub asserts that pods hand each other images through a registry whose authority a
// ConfigMap tells them, and that none of their bytes pass through sx.
func throughHub(t *testing.T, c *cluster.Cluster) {
	const size = 12 << 20 // the tool of each definition is a quarter of it
	mark := newMark(t)
	tree := enginetest.NewTree(t, programs, "", strings.ReplaceAll(heavy, "MARK", mark))
	tree.Write("packages/core/heavy/noise", noise(size))
	p := poolOf(t, c, tree, mark, "")
	host, ca := startHub(t, c)
	config := filepath.Join(t.TempDir(), "buildkitd.toml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "[registry.%q]\n  ca = [\"/etc/buildkit/ca.pem\"]\n", host), 0o600))
	p.kubectl("create", "configmap", "hub", "--from-file="+config, "--from-file="+ca)
	embedded := p.Env
	p.Env = append(embedded[:len(embedded):len(embedded)], "KUBECONFIG="+c.Inside, "SX_ENGINE_ADDRESS="+p.address("replicas=2&config=hub"),
		"SX_ENGINE_HUB=oci://"+host+"/hub", "SX_REGISTRIES_CA_FILE="+ca, "NO_PROXY="+cluster.HostIP)
	within := c.Within(programs.Sx())
	sx := func(args ...string) *enginetest.Run { return p.StartWith(within[0], append(within[1:], args...)...) }

	sx("build", "core-heavy", "--results", "none").Want(0) // its file is sent here
	run := sx("build", "core-left", "core-right", "--results", "none", "-j", "1", "-v")
	onPods(t, mark, 2)
	log := run.Want(0).Stderr.String()
	all := moved.FindAllStringSubmatch(log, -1)
	for _, m := range all {
		for _, n := range m[1:] {
			if n, _ := strconv.Atoi(n); n > size/2 {
				t.Errorf("%d bytes passed through sx", n)
			}
		}
	}
	if len(all) < 2 || !strings.Contains(log, "bytes received 0, bytes sent 0") {
		t.Errorf("layers passed through sx, or the log does not say it:\n%s", log)
	}
	sx("build", "core-left", "core-right").Want(0) // which brings both
	p.wantNone()
	got := p.Digest("core-left") + p.Digest("core-right")
	p.Env = append(embedded, "SX_ENGINE_ADDRESS=embedded")
	p.Sx("build", "core-left", "core-right", "--no-cache")
	if want := p.Digest("core-left") + p.Digest("core-right"); got != want {
		t.Errorf("digests %s, want %s", got, want)
	}
}

// noise returns bytes that do not compress.
func noise(size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

const random = `
-- packages/core/random/package.toml --
[package]
name = "random"
version = "1"
-- packages/core/random/Containerfile --
FROM scratch AS build
COPY tool /
RUN --network=none ["/tool", "random", "/bytes"]
FROM scratch
COPY --from=build /bytes /
`

// keepsCache asserts that a pod with a volume has its cache again after it was scaled to
// zero and after it was deleted: a step with a random result gives the same one.
func keepsCache(t *testing.T, c *cluster.Cluster) {
	p := poolOf(t, c, enginetest.NewTree(t, programs, "", random), "", "")
	must(t, c.Apply(t.Context(), fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: %[1]s
  hostPath: {path: %[2]q, type: DirectoryOrCreate}
`, p.namespace, filepath.Join(c.Dir, p.namespace))))
	options := "storage=1Gi&storage-class=" + p.namespace
	p.use(options)
	again := func(args ...string) string {
		must(t, os.RemoveAll(p.Path("out")))
		p.Sx(append([]string{"build", "core-random"}, args...)...)
		return p.Digest("core-random")
	}
	first := again()
	p.wantNone()
	if got := again(); got != first {
		t.Errorf("digest %s, and %s after scaling to zero: it was built twice", first, got)
	}
	p.Sx("engine", "up", p.address(options))
	p.kubectl("delete", "pod", "sx-0")
	if got := again(); got != first {
		t.Errorf("digest %s, and %s after the pod was deleted: it was built twice", first, got)
	}
	if got := again("--no-cache"); got == first {
		t.Error("its result is not random")
	}
	p.Sx("engine", "clean")
	if left := p.kubectl("get", "statefulset,poddisruptionbudget,persistentvolumeclaim,pod", "-o=name"); left != "" {
		t.Errorf("after sx engine clean: %s", left)
	}
}
