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

// aPod is a buildkitd that is not sx's.
const aPod = `
apiVersion: v1
kind: Namespace
metadata: {name: builds}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: builds}
---
apiVersion: v1
kind: Pod
metadata: {name: buildkitd-0, namespace: builds}
spec:
  automountServiceAccountToken: false
  dnsPolicy: Default
  containers:
  - name: buildkitd
    image: ` + cluster.BuildKit + `
    securityContext: {privileged: true}
    readinessProbe: {exec: {command: [buildctl, debug, workers]}, periodSeconds: 1}
`

// openKubernetes runs a buildkitd in a pod of a cluster of its own.
func openKubernetes(t testing.TB, _ *Stock) Way {
	t.Helper()
	c := StartCluster(t, 1)
	for _, do := range []func(context.Context) error{
		func(ctx context.Context) error { return c.Apply(ctx, aPod) },
		func(ctx context.Context) error {
			_, err := c.Kubectl(ctx, "--namespace=builds", "wait", "--for=condition=Ready", "--timeout=60s", "pod/buildkitd-0")
			return err
		},
	} {
		if err := do(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return Way{"SX_ENGINE_ADDRESS=kube-pod://buildkitd-0?namespace=builds", "KUBECONFIG=" + c.Kubeconfig, withPath(os.Getenv("SX_TEST_KUBERNETES"))}
}
