package enginetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/buildkit/kubernetes/kubetest"
	"codeberg.org/stagex/sx/preseed/registrytest"
)

// Way is how sx reaches an engine: environment variables of sx.
type Way []string

// Engine is an engine that the suite can run on. To add one, add a line to Engines.
type Engine struct {
	Name string
	// Kind is what verdicts call it; "" for the embedded one.
	Kind string
	// Shared ones dial the stock buildkitd that another of the suite builds on:
	// what is tested is the way, so they may take its cache.
	Shared bool
	// Ordinary: sx runs as a user who is not root, who has no more owners than
	// useradd gives and makes no device nodes.
	Ordinary bool
	// Docker: it needs the dockerd of SX_TEST_DOCKERD, which takes minutes to
	// compile.
	Docker bool
	// Kubernetes: it needs the programs in SX_TEST_KUBERNETES, which take longer.
	Kubernetes bool
	// Open starts it and says how to dial it; it ends with the test. stock is
	// a running buildkitd, for those that only dial another way.
	Open func(t testing.TB, stock *Stock) Way
}

// Engines lists the engines that the suite knows.
var Engines = []Engine{
	{Name: "embedded", Open: noWay},
	{Name: "rootless", Ordinary: true, Open: noWay},
	{Name: "tcp", Kind: "tcp", Open: openTCP},
	{Name: "unix", Kind: "unix", Shared: true, Open: func(_ testing.TB, s *Stock) Way { return Way{"SX_ENGINE_ADDRESS=unix://" + s.Socket} }},
	{Name: "hub", Kind: "unix", Shared: true, Open: openHub},
	{Name: "ssh", Kind: "ssh", Shared: true, Open: openSSH},
	{Name: "kube-pod", Kind: "kube-pod", Shared: true, Open: openKubePod},
	{Name: "docker", Kind: "docker", Docker: true, Open: openDocker},
	{Name: "docker-container", Kind: "docker-container", Docker: true, Open: openDockerContainer},
	{Name: "kubernetes", Kind: "kubernetes", Kubernetes: true, Open: openKubernetes},
	{Name: "podman", Kind: "podman", Open: openPodman},
}

// noWay is the default way: the embedded engine.
func noWay(testing.TB, *Stock) Way { return nil }

// StartStockTLS starts a stock buildkitd that also listens at a port of loopback,
// with TLS and client certificates.
func StartStockTLS(t testing.TB, p Programs) *Stock {
	t.Helper()
	s := &Stock{certs: MutualTLS(t), port: FreePort(t)}
	s.start(t, p, "--addr", fmt.Sprintf("tcp://127.0.0.1:%d", s.port), "--tlscacert", s.certs+"/ca.pem",
		"--tlscert", s.certs+"/server.pem", "--tlskey", s.certs+"/server-key.pem")
	return s
}

func openTCP(_ testing.TB, s *Stock) Way {
	return Way{fmt.Sprintf("SX_ENGINE_ADDRESS=tcp://127.0.0.1:%d", s.port), "SX_ENGINE_TLSDIR=" + s.certs}
}

// openHub is the way of unix, with a registry through which images go.
func openHub(t testing.TB, s *Stock) Way {
	t.Helper()
	r, err := registrytest.Start(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return Way{"SX_ENGINE_ADDRESS=unix://" + s.Socket, "SX_ENGINE_HUB=oci://" + r.Host + "/hub", "SX_ENGINE_RESULTS=all"}
}

// openKubePod starts an API server of the test's own, with a pod whose programs run on
// this machine.
func openKubePod(t testing.TB, s *Stock) Way {
	t.Helper()
	cluster := kubetest.Start(t)
	cluster.Command = func(_ string, command []string) []string {
		return append([]string{s.buildctl, "--addr", s.addr}, command[1:]...)
	}
	cluster.AddPod("builds", "buildkitd-0", kubetest.Ready())
	return Way{"SX_ENGINE_ADDRESS=kube-pod://buildkitd-0?namespace=builds", "KUBECONFIG=" + cluster.Kubeconfig(t)}
}

// fakeProgram makes a shell script and returns its folder.
func fakeProgram(t testing.TB, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func withPath(dir string) string { return "PATH=" + dir + ":" + os.Getenv("PATH") }
