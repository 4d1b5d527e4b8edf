package enginetest

import (
	"context"
	"os"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
)

// StartCluster starts a Kubernetes cluster from the folder in SX_TEST_KUBERNETES
// (scripts/kubernetes fills one). It ends with the test.
func StartCluster(t testing.TB, nodes int) *cluster.Cluster {
	t.Helper()
	programs := os.Getenv("SX_TEST_KUBERNETES")
	if programs == "" {
		t.Fatal("SX_TEST_KUBERNETES names no folder that scripts/kubernetes filled")
	}
	began := time.Now()
	c, err := cluster.Start(context.Background(), programs, t.TempDir(), nodes)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes are ready after %.1f s", nodes, time.Since(began).Seconds())
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// openKubernetes lets sx make pods in a cluster of its own.
func openKubernetes(t testing.TB, _ *Stock) Way {
	t.Helper()
	c := StartCluster(t, 1)
	if _, err := c.Kubectl(context.Background(), "create", "namespace", "builds"); err != nil {
		t.Fatal(err)
	}
	return Way{"SX_ENGINE_ADDRESS=kubernetes://builds/sx?replicas=2&image=" + cluster.BuildKit, "KUBECONFIG=" + c.Kubeconfig}
}
