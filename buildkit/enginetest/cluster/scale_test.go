//go:build linux

package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit/enginetest"
	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
)

// numbers are the outputs that [newWide] makes sleep.
var numbers = []string{"one", "two", "three", "four"}

// newWide returns a pool whose tree has four outputs that sleep at the same time, and
// core-all, which has all of them.
func newWide(t *testing.T, c *cluster.Cluster, sleep time.Duration) *pool {
	t.Helper()
	mark := newMark(t)
	var archive, all strings.Builder
	for _, n := range numbers {
		fmt.Fprintf(&archive, `
-- packages/core/%[1]s/package.toml --
[package]
name = "%[1]s"
version = "1"
-- packages/core/%[1]s/Containerfile --
FROM scratch AS build
COPY tool /
RUN --network=none ["/tool", "sleep", "%[2]s", "%[3]s", ",", "write", "/slept", "%[1]s"]
FROM scratch
COPY --from=build /slept /%[1]s
`, n, sleep, mark)
		fmt.Fprintf(&all, "COPY --from=stagex/core-%[1]s /%[1]s /\n", n)
	}
	archive.WriteString("-- packages/core/all/package.toml --\n[package]\nname = \"all\"\nversion = \"1\"\n-- packages/core/all/Containerfile --\nFROM scratch\n" + all.String())
	return poolOf(t, c, enginetest.NewTree(t, programs, "", archive.String()), mark, "")
}

// newMark returns what marks the steps of a test's tree.
func newMark(t *testing.T) string {
	return "mark-" + filepath.Base(t.TempDir()) + "-" + strings.ReplaceAll(t.Name(), "/", "-") + "."
}

var podID = regexp.MustCompile(`/pod([0-9a-f-]{36})`)

// podsOf returns the ids of the pods in which steps with the mark run.
func podsOf(mark string) (uids []string) {
	for _, pid := range enginetest.Running(mark) {
		groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if m := podID.FindSubmatch(groups); m != nil && !slices.Contains(uids, string(m[1])) {
			uids = append(uids, string(m[1]))
		}
	}
	return uids
}

// onPods waits until steps with the mark run on so many pods at the same time, and holds
// those that have begun until then.
func onPods(t *testing.T, mark string, n int) {
	t.Helper()
	held := map[int]bool{}
	defer func() {
		for pid := range held {
			unix.Kill(pid, unix.SIGCONT)
		}
	}()
	enginetest.Until(t, long, fmt.Sprintf("steps run on %d pods", n), func() bool {
		for _, pid := range enginetest.Running(mark) {
			if !held[pid] {
				held[pid] = true
				unix.Kill(pid, unix.SIGSTOP)
			}
		}
		return len(podsOf(mark)) == n
	})
}

// use makes sx take other options of the pool.
func (p *pool) use(options string) {
	p.Env = append(p.Env, "SX_ENGINE_ADDRESS="+p.address(options))
}

// replicas returns how many pods the StatefulSet is to have.
func (p *pool) replicas() string {
	p.t.Helper()
	return p.kubectl("get", "statefulset", "sx", "-o=jsonpath={.spec.replicas}")
}

// wantNone asserts that the StatefulSet is scaled to zero, and waits for its pods' end.
func (p *pool) wantNone() {
	p.t.Helper()
	if got := p.replicas(); got != "0" {
		p.t.Errorf("the StatefulSet wants %s pods, and no run uses them", got)
	}
	enginetest.Until(p.t, long, "the pods are gone", func() bool { return p.kubectl("get", "pods", "-o=name") == "" })
}

// scales asserts that a tree is built on as many pods as its plan and the address allow,
// to the same digests, and that they are made from none and removed at the end.
func scales(t *testing.T, c *cluster.Cluster) {
	p := newWide(t, c, 2*time.Second)
	digests := map[string]string{}
	for _, n := range []int{4, 2, 1} {
		p.use(fmt.Sprintf("replicas=%d", n))
		run := p.Start("build", "--all", "--no-cache", "-j", "1")
		onPods(t, p.mark, n)
		if got := p.replicas(); got != fmt.Sprint(n) {
			t.Errorf("the StatefulSet wants %s pods of %d", got, n)
		}
		run.Want(0)
		p.wantNone()
		digests[p.Digest("core-all")] = fmt.Sprintf("%d pods", n)
	}
	p.use("replicas=4")
	run := p.Start("build", "core-one", "--no-cache")
	p.Sleeping(p.mark)
	if got := p.replicas(); got != "1" {
		t.Errorf("%s pods for a plan of one output", got)
	}
	run.Want(0)
	p.wantNone()

	p.Env = append(p.Env, "SX_ENGINE_ADDRESS=embedded")
	p.Sx("build", "--all", "--no-cache")
	digests[p.Digest("core-all")] = "the embedded engine"
	if len(digests) != 1 {
		t.Errorf("digests differ: %v", digests)
	}
}

// staysUp asserts that pods that were started stay until they are ended.
func staysUp(t *testing.T, c *cluster.Cluster) {
	p := newPool(t, c, "")
	address := p.address("replicas=2")
	p.Sx("engine", "up", address)
	if got := p.kubectl("get", "statefulset", "sx", "-o=jsonpath={.status.readyReplicas}"); got != "2" {
		t.Errorf("%q pods are ready after sx engine up", got)
	}
	before := p.kubectl("get", "pods", "-o=jsonpath={.items[*].metadata.uid}")
	p.use("replicas=2")
	p.Sx("build", "core-other")
	if out := p.Sx("engine", "status"); !strings.Contains(out, "2 of 2 pods ready") {
		t.Errorf("the status is\n%s", out)
	}
	if after := p.kubectl("get", "pods", "-o=jsonpath={.items[*].metadata.uid}"); after != before {
		t.Errorf("the pods %s were %s before a build", after, before)
	}
	p.Sx("engine", "down", address)
	if left := p.replicas() + p.kubectl("get", "pods", "-o=name"); left != "0" {
		t.Errorf("after sx engine down: %s", left)
	}
}
