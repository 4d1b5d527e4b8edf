//go:build linux

package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit/enginetest"
	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
)

// pool is a tree whose engine is pods of a namespace of its own.
type pool struct {
	*enginetest.Tree
	t         *testing.T
	c         *cluster.Cluster
	namespace string
	mark      string // of core-sleep
}

// long bounds what a loaded machine does in seconds otherwise.
const long = 4 * time.Minute

// newPool returns a tree whose core-sleep sleeps for two seconds.
func newPool(t *testing.T, c *cluster.Cluster, options string) *pool {
	t.Helper()
	tree, mark := enginetest.NewSleeper(t, programs, 2*time.Second)
	return poolOf(t, c, tree, mark, options)
}

func poolOf(t *testing.T, c *cluster.Cluster, tree *enginetest.Tree, mark, options string) *pool {
	t.Helper()
	tree.Patience = long
	p := &pool{tree, t, c, "ns-" + strconv.FormatInt(time.Now().UnixNano(), 36), mark}
	p.kubectl("create", "namespace", p.namespace)
	tree.Env = append(tree.Env, "KUBECONFIG="+c.Kubeconfig, "SX_ENGINE_ADDRESS="+p.address(options))
	return p
}

func (p *pool) address(options string) string {
	return fmt.Sprintf("kubernetes://%s/sx?image=%s&grace=60s&%s", p.namespace, cluster.BuildKit, options)
}

func (p *pool) kubectl(args ...string) string {
	p.t.Helper()
	out, err := p.c.Kubectl(p.t.Context(), append([]string{"--namespace=" + p.namespace}, args...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// podOf returns the name of the pod in which a process runs, its node and the id that
// is in its cgroup.
func (p *pool) podOf(pid int) (name, node, uid string) {
	p.t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	must(p.t, err)
	for line := range strings.Lines(p.kubectl("get", "pods", `-o=jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.metadata.uid}{"\n"}{end}`)) {
		f := strings.Fields(line)
		if len(f) == 3 && strings.Contains(string(groups), "pod"+f[2]) {
			return f[0], f[1], f[2]
		}
	}
	p.t.Fatalf("process %d is in no pod: %s", pid, groups)
	return "", "", ""
}

// inPod returns the processes of a pod.
func inPod(uid string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range files {
		if groups, _ := os.ReadFile(file); strings.Contains(string(groups), "pod"+uid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// buildkitd returns the buildkitd of a pod.
func buildkitd(t *testing.T, uid string) int {
	t.Helper()
	for _, pid := range inPod(uid) {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(line), "/usr/bin/buildkitd") {
			return pid
		}
	}
	t.Fatal("the pod has no buildkitd")
	return 0
}

// wantSame compares with the embedded engine's output of the same tree.
func (p *pool) wantSame() {
	p.t.Helper()
	got := p.Digest("core-sleep")
	pods := slices.Clone(p.Env)
	p.Env = append(p.Env, "SX_ENGINE_ADDRESS=embedded")
	p.Sx("build", "core-sleep", "--no-cache")
	if want := p.Digest("core-sleep"); got != want || got == "" {
		p.t.Errorf("digest %q, want %q as the embedded engine makes it", got, want)
	}
	p.Env = pods
}

// Whatever happens to the pod, its node or the API server during a build, the build ends
// with the right bytes.
func TestPods(t *testing.T) {
	c := enginetest.StartCluster(t, 2)
	t.Run("at once", func(t *testing.T) {
		t.Run("silent", func(t *testing.T) { t.Parallel(); takesBack(t, c) }) // which takes three minutes
		t.Run("meanwhile", func(t *testing.T) {
			t.Parallel()
			t.Run("manifest", func(t *testing.T) { acceptsManifest(t, c) })
			t.Run("memory", func(t *testing.T) { failsForMemory(t, c) })
			t.Run("scaled", func(t *testing.T) { scales(t, c) })
			t.Run("up and down", func(t *testing.T) { staysUp(t, c) })
			t.Run("rights", func(t *testing.T) { wantsRights(t, c) })
			t.Run("hub", func(t *testing.T) { throughHub(t, c) })
			t.Run("volume", func(t *testing.T) { keepsCache(t, c) })
			disturbed(t, c, disturbances)
		})
	})
	disturbed(t, c, disturbancesOfAll)
}

// disturbance is something that happens to the pod that builds.
type disturbance struct {
	name, options string
	do            func(p *pool, pod, node, uid string)
}

// disturbances leave other pods alone; the others do not.
var (
	disturbances = []disturbance{
		{"deleted", "", func(p *pool, pod, _, _ string) { p.kubectl("delete", "pod", pod, "--wait=false") }},
		{"deleted by force", "", func(p *pool, pod, _, _ string) { p.kubectl("delete", "pod", pod, "--grace-period=0", "--force") }},
		{"buildkitd killed", "", func(p *pool, _, _, uid string) { must(p.t, unix.Kill(buildkitd(p.t, uid), unix.SIGKILL)) }},
		{"frozen for a while", "", func(p *pool, _, _, uid string) {
			p.pause(3*time.Second, func(s unix.Signal) {
				for _, pid := range inPod(uid) {
					unix.Kill(pid, s)
				}
			})
		}},
	}
	disturbancesOfAll = []disturbance{
		{"drained", "replicas=2", drain},
		{"API server stopped for a minute", "", func(p *pool, _, _, _ string) {
			must(p.t, p.c.APIServer.Stop())
			p.t.Cleanup(func() { p.c.APIServer.Continue() })
			after(time.Minute, func() { p.c.APIServer.Continue() })
		}},
		{"node killed", "replicas=2", func(p *pool, _, node, _ string) {
			i := slices.IndexFunc(p.c.Nodes, func(n *cluster.Node) bool { return n.Name == node })
			must(p.t, p.c.Nodes[i].Kill())
			p.t.Cleanup(func() { must(p.t, p.c.Restart(p.c.Nodes[i])) })
		}},
	}
)

// disturbed asserts that a build goes on when each of them happens.
func disturbed(t *testing.T, c *cluster.Cluster, all []disturbance) {
	for _, d := range all {
		t.Run(d.name, func(t *testing.T) {
			p := newPool(t, c, d.options)
			run := p.Start("build", "core-sleep")
			p.Sleeping(p.mark)
			pod, node, uid := p.podOf(enginetest.Running(p.mark)[0])
			d.do(p, pod, node, uid)
			run.Want(0)
			p.wantSame()
		})
	}
}

// drain empties a node as an administrator does, and lets it be used again.
func drain(p *pool, _, node, _ string) {
	p.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=80s")
	p.kubectl("uncordon", node)
}

// pause sends SIGSTOP, and SIGCONT after a while.
func (p *pool) pause(d time.Duration, signal func(unix.Signal)) {
	signal(unix.SIGSTOP)
	p.t.Cleanup(func() { signal(unix.SIGCONT) })
	after(d, func() { signal(unix.SIGCONT) })
}

func after(d time.Duration, do func()) { <-time.After(d); do() }

// failsForMemory asserts that a step that needs more than the pod's memory fails as any other step: no engine is
// lost.
func failsForMemory(t *testing.T, c *cluster.Cluster) {
	tree := enginetest.NewTree(t, programs, "", `
-- packages/core/large/package.toml --
[package]
name = "large"
version = "1"
-- packages/core/large/Containerfile --
FROM scratch AS build
COPY tool /
RUN --network=none ["/tool", "need", "600", "1s", ",", "write", "/done", "1"]
FROM scratch
COPY --from=build /done /
`)
	p := poolOf(t, c, tree, "", "limits.memory=400Mi")
	log := p.Start("build", "core-large").Want(1).Stderr.String()
	if !strings.Contains(log, "exit code: 137") || strings.Contains(log, "was lost") {
		t.Errorf("not an ordinary failed step:\n%s", log)
	}
}

// acceptsManifest asserts that the API server finds nothing wrong with the manifest.
func acceptsManifest(t *testing.T, c *cluster.Cluster) {
	for _, options := range []string{"", "replicas=4&storage=200Gi&storage-class=fast&nodeselector=kubernetes.io/arch=arm64&tolerations=builds:NoSchedule,spot=yes&rootless=true&requests.cpu=4&limits.memory=32Gi&pull-secret=registry&spread=none"} {
		p := newPool(t, c, options)
		file := filepath.Join(t.TempDir(), "manifest.yaml")
		must(t, os.WriteFile(file, []byte(p.Sx("engine", "manifest")), 0o644))
		p.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", file)
	}
}

const chain = `
-- packages/core/first/package.toml --
[package]
name = "first"
version = "1"
-- packages/core/first/Containerfile --
FROM scratch AS build
COPY tool /
RUN --network=none ["/tool", "sleep", "5s", "MARKfirst.", ",", "write", "/first", "x"]
FROM scratch
COPY --from=build /first /
-- packages/core/left/package.toml --
[package]
name = "left"
version = "1"
-- packages/core/left/Containerfile --
FROM stagex/core-first
COPY tool /
RUN --network=none ["/tool", "sleep", "2s", "MARKlast.", ",", "write", "/left", "x"]
-- packages/core/right/package.toml --
[package]
name = "right"
version = "1"
-- packages/core/right/Containerfile --
FROM stagex/core-first
COPY tool /
RUN --network=none ["/tool", "sleep", "2s", "MARKlast.", ",", "write", "/right", "x"]
`

// takesBack asserts that what a buildkitd builds that stops answering is built on another
// pod, and that its pod is used again when it answers again.
func takesBack(t *testing.T, c *cluster.Cluster) {
	mark := newMark(t)
	tree := enginetest.NewTree(t, programs, "", strings.ReplaceAll(chain, "MARK", mark))
	p := poolOf(t, c, tree, mark, "replicas=2")
	p.Patience = 3 * long
	run := p.Start("build", "core-left", "core-right", "-j", "1")
	p.Sleeping(mark + "first.")
	frozen := podsOf(mark + "first.")[0]
	pid := buildkitd(t, frozen)
	must(t, unix.Kill(pid, unix.SIGSTOP))
	t.Cleanup(func() { unix.Kill(pid, unix.SIGCONT) })
	enginetest.Until(t, 2*long, "sx gives it up", func() bool { return strings.Contains(run.Stderr.String(), "was lost") })
	onOther := func() bool {
		return slices.ContainsFunc(podsOf(mark+"first."), func(uid string) bool { return uid != frozen })
	}
	enginetest.Until(t, long, "another pod builds it", onOther)
	must(t, unix.Kill(pid, unix.SIGCONT))
	onPods(t, mark+"last.", 2)
	run.Want(0)
	got := p.Digest("core-left") + p.Digest("core-right")
	p.Env = append(p.Env, "SX_ENGINE_ADDRESS=embedded")
	p.Sx("build", "core-left", "core-right", "--no-cache")
	if want := p.Digest("core-left") + p.Digest("core-right"); got != want {
		t.Errorf("digests %s, want %s", got, want)
	}
}
