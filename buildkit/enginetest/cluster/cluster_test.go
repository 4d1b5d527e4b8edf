//go:build linux

package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit/enginetest"
	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
)

// Parts of a cluster stop, go on and die as those of a real one, and when it ends the
// host is as it was.
func TestCluster(t *testing.T) {
	before := host(t)
	dir := t.TempDir()
	c, err := cluster.Start(t.Context(), os.Getenv("SX_TEST_KUBERNETES"), dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			must(t, c.Close())
		}
	}
	t.Cleanup(end)

	must(t, c.APIServer.Stop())
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	if out, err := c.Kubectl(ctx, "get", "nodes"); err == nil {
		t.Errorf("a stopped API server answers: %s", out)
	}
	must(t, c.APIServer.Continue())
	enginetest.Until(t, time.Minute, "it answers again", func() bool { _, err := c.Kubectl(t.Context(), "get", "nodes"); return err == nil })

	must(t, c.Nodes[1].Kill())
	ready := func(want string) func() bool {
		return func() bool {
			out, _ := c.Kubectl(t.Context(), "get", "node/node2", `-o=jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
			return out == want
		}
	}
	enginetest.Until(t, time.Minute, "a killed node is unknown", ready("Unknown"))
	must(t, c.Restart(c.Nodes[1]))
	enginetest.Until(t, time.Minute, "it is ready again", ready("True"))

	end()
	if after := host(t); after != before {
		t.Errorf("the host was\n%s\nand is\n%s", before, after)
	}
	if left := withArgument(dir); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// host returns what a cluster could change of this machine.
func host(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, file := range []string{"/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/forwarding"} {
		data, err := os.ReadFile(file)
		must(t, err)
		fmt.Fprintf(&all, "%s: %s", file, data)
	}
	interfaces, err := net.Interfaces()
	must(t, err)
	for _, i := range interfaces {
		fmt.Fprintln(&all, i.Name)
	}
	for _, folder := range []string{"/run/containerd", "/opt", "/usr/libexec", "/etc/cni", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers"} {
		names, _ := filepath.Glob(folder + "/*")
		fmt.Fprintln(&all, folder, names)
	}
	groups, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/sx-test-%d", os.Getpid()))
	fmt.Fprintln(&all, groups)
	return all.String()
}

// withArgument returns the processes with an argument that contains text.
func withArgument(text string) (lines []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if bytes.Contains(line, []byte(text)) {
			lines = append(lines, string(line))
		}
	}
	return slices.Sorted(slices.Values(lines))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
