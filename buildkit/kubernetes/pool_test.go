package kubernetes

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/kubernetes/kubetest"
)

func newPool(t *testing.T, options string) *Pool {
	t.Helper()
	a, err := ParseAddress("kubernetes://builds/sx?" + options)
	must(t, err)
	return NewPool(a)
}

func connect(t *testing.T, e buildkit.Engine) *buildkit.Conn {
	t.Helper()
	c, err := e.Connect(t.Context())
	must(t, err)
	return c
}

const theSet = "statefulsets.apps/builds/sx"

// replicas returns how many pods the StatefulSet is to have; -1 if there is none.
func replicas(s *kubetest.Server) (n int) {
	s.Edit(theSet, func(o kubetest.Object) {
		n = -1
		if o != nil {
			n = int(o["spec"].(kubetest.Object)["replicas"].(float64))
		}
	})
	return n
}

// podOf returns the ordinal of the pod that a machine is connected to.
func podOf(e buildkit.Engine) int {
	m := e.(*machine)
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	return m.on
}

// Machines are as many as the plan can use, each on a pod of its own; at the end there is
// none.
func TestMachines(t *testing.T) {
	s := startCluster(t)
	p := newPool(t, "replicas=3")
	if got := p.Machines(8); len(got) != 3 {
		t.Fatalf("%d machines of 3 pods", len(got))
	}
	p = newPool(t, "replicas=3")
	machines := p.Machines(2)
	on := map[int]bool{}
	for _, m := range machines {
		c := connect(t, m)
		defer c.Client.Close()
		on[podOf(m)] = true
		if buildkit.EngineName(m) != "kubernetes://test/builds/sx" || m.Kind() != "kubernetes" {
			t.Errorf("a machine is %s, %s", buildkit.EngineName(m), m.Kind())
		}
	}
	if len(machines) != 2 || len(on) != 2 || replicas(s) != 2 {
		t.Errorf("%d machines on pods %v of %d", len(machines), on, replicas(s))
	}
	must(t, p.Release(t.Context()))
	if replicas(s) != 0 || len(s.Pods()) != 0 {
		t.Errorf("%d replicas at the end", replicas(s))
	}
}

// What another run of sx uses is not scaled down, and pods that it does not use are
// preferred.
func TestTwoRuns(t *testing.T) {
	s := startCluster(t)
	first, second := newPool(t, "replicas=3"), newPool(t, "replicas=3")
	a, b := first.Machines(1)[0], second.Machines(1)[0]
	ca, cb := connect(t, a), connect(t, b)
	if podOf(a) == podOf(b) || replicas(s) != 2 {
		t.Errorf("both are on pod %d of %d", podOf(a), replicas(s))
	}
	ca.Client.Close()
	must(t, first.Release(t.Context()))
	if replicas(s) != podOf(b)+1 {
		t.Errorf("%d replicas, and a run is on pod %d", replicas(s), podOf(b))
	}
	if _, err := cb.Client.Info(t.Context()); err != nil {
		t.Errorf("the other run's pod: %v", err)
	}
	var busy *buildkit.BusyError
	if err := newPool(t, "").Stop(t.Context(), false); !errors.As(err, &busy) || busy.Clients != 1 {
		t.Errorf("stopping a pool in use: %v", err)
	}
	cb.Client.Close()
	must(t, second.Release(t.Context()))
	if replicas(s) != 0 {
		t.Errorf("%d replicas at the end", replicas(s))
	}
	// A run that was killed counts only until its time.
	old := runs{"dead": {Until: time.Now().Add(-time.Second), Pods: 2, On: []int{1}}}
	s.Edit(theSet, func(o kubetest.Object) {
		o["metadata"].(kubetest.Object)["annotations"].(kubetest.Object)[runsKey] = old.String()
		o["spec"].(kubetest.Object)["replicas"] = 2.0
	})
	third := newPool(t, "replicas=3")
	c := connect(t, third)
	c.Client.Close()
	must(t, third.Release(t.Context()))
	if replicas(s) != 0 {
		t.Errorf("a dead run keeps %d pods", replicas(s))
	}
}

// A connection ends with its pod, and the next one is to a pod that is ready: never one
// that is going away.
func TestLostPod(t *testing.T) {
	s := startCluster(t)
	p := newPool(t, "replicas=3")
	machines := p.Machines(2)
	c0 := connect(t, machines[0])
	defer connect(t, machines[1]).Client.Close()
	lost := podOf(machines[0])
	s.Kill("builds", []string{"sx-0", "sx-1"}[lost])
	if _, err := c0.Client.Info(t.Context()); err == nil {
		t.Error("the connection goes on, to another pod")
	}
	c0.Client.Close()
	connect(t, machines[0]).Client.Close()
	if podOf(machines[0]) == podOf(machines[1]) {
		t.Error("two machines are on one pod")
	}
	s.Edit("pods/builds/sx-0", func(o kubetest.Object) {
		o["metadata"].(kubetest.Object)["deletionTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	})
	s.Edit("pods/builds/sx-1", func(o kubetest.Object) {
		o["status"] = kubetest.Object{"phase": "Running", "conditions": []any{kubetest.Object{"type": "Ready", "status": "False"}}}
	})
	third := newPool(t, "replicas=3")
	m := third.Machines(1)[0]
	connect(t, m).Client.Close()
	if podOf(m) != 2 {
		t.Errorf("it chose pod %d", podOf(m))
	}
	must(t, errors.Join(p.Release(t.Context()), third.Release(t.Context())))
}

// While no pod is ready sx says why, and gives up in time.
func TestWhyNoPod(t *testing.T) {
	waiting := func(reason, message string) kubetest.Object {
		return kubetest.Object{"phase": "Pending", "containerStatuses": []any{kubetest.Object{"state": kubetest.Object{"waiting": kubetest.Object{"reason": reason, "message": message}}}}}
	}
	for _, c := range []struct {
		want   string
		status kubetest.Object
		before func(*kubetest.Server)
	}{
		{want: "sx-0 on n1: ImagePullBackOff: no such image", status: waiting("ImagePullBackOff", "no such image")},
		{want: "no node takes it: 0/2 nodes are available: 2 Insufficient memory", status: kubetest.Object{"phase": "Pending",
			"conditions": []any{kubetest.Object{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient memory."}}}},
		{want: "it has ended: Evicted The node was low on resource", status: kubetest.Object{"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}},
	} {
		s := startCluster(t)
		s.Status = func(string) kubetest.Object { return c.status }
		p := newPool(t, "wait=1s")
		told := ""
		p.Waiting = func(what string) { told += what }
		_, err := p.Connect(t.Context())
		var away *buildkit.EngineError
		if !errors.As(err, &away) || !strings.Contains(err.Error(), c.want) || !strings.Contains(told, c.want) {
			t.Errorf("%v\ntold %s\nwant %s", err, told, c.want)
		}
		must(t, p.Release(t.Context()))
		if replicas(s) != 0 {
			t.Errorf("%s: %d replicas are left", c.want, replicas(s))
		}
	}
}

// A pod that goes away for long is told with what to type if its node is lost.
func TestLostNode(t *testing.T) {
	s := startCluster(t)
	p := newPool(t, "wait=1s")
	must(t, p.Up(t.Context()))
	s.Edit("pods/builds/sx-0", func(o kubetest.Object) {
		meta := o["metadata"].(kubetest.Object)
		meta["deletionTimestamp"] = time.Now().Add(-2 * time.Minute).UTC().Add(time.Hour).Format(time.RFC3339)
		meta["deletionGracePeriodSeconds"] = 3600
	})
	p = newPool(t, "wait=1s")
	_, err := p.Connect(t.Context())
	if want := "if that node is lost, free its place: kubectl --namespace=builds delete pod sx-0 --force --grace-period=0"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	if !slices.Contains(s.Pods(), "sx-0") {
		t.Error("sx deleted it")
	}
	must(t, p.Release(t.Context()))
}

// Pods that the cluster does not make are told with the cluster's reason.
func TestQuota(t *testing.T) {
	s := startCluster(t)
	p := newPool(t, "wait=1s")
	must(t, p.prepare(t.Context()))
	s.Put("events/builds/e", kubetest.Object{"type": "Warning", "message": `create Pod sx-0 failed: exceeded quota: small`, "lastTimestamp": "2026-01-01T00:00:00Z"})
	v, err := p.look(t.Context())
	must(t, err)
	v.set.Spec.Replicas = 2
	v.warning = p.lastWarning(t.Context(), v.set.Metadata.UID)
	if got := p.why(v); !strings.Contains(got, "the cluster has made 0 of 2 pods: create Pod sx-0 failed: exceeded quota: small") {
		t.Errorf("%s", got)
	}
}

// A pod that its node cannot start is told with the node's reason.
func TestNoStart(t *testing.T) {
	s := startCluster(t)
	s.Status = func(string) kubetest.Object {
		return kubetest.Object{"phase": "Pending",
			"conditions":        []any{kubetest.Object{"type": "Ready", "status": "False", "message": "containers with unready status: [buildkitd]"}},
			"containerStatuses": []any{kubetest.Object{"state": kubetest.Object{"waiting": kubetest.Object{"reason": "ContainerCreating"}}}}}
	}
	s.Put("events/builds/other", kubetest.Object{"type": "Warning", "reason": "MissingClusterDNS", "message": "not the reason", "lastTimestamp": "2026-01-02T00:00:00Z"})
	s.Put("events/builds/e", kubetest.Object{"type": "Warning", "reason": "FailedMount", "message": `MountVolume.SetUp failed for volume "config" : configmap "hub" not found`, "lastTimestamp": "2026-01-01T00:00:00Z"})
	p := newPool(t, "wait=1s&config=hub")
	_, err := p.Connect(t.Context())
	if want := `sx-0 on n1: MountVolume.SetUp failed for volume "config" : configmap "hub" not found`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	must(t, p.Release(t.Context()))
}

// Sx changes nothing that it did not make, and the pods of other options only if no run
// uses them.
func TestWhatIsNotOurs(t *testing.T) {
	s := startCluster(t)
	s.Put(theSet, kubetest.Object{"kind": "StatefulSet", "metadata": kubetest.Object{"name": "sx", "namespace": "builds"}, "spec": kubetest.Object{"replicas": 0.0}})
	p := newPool(t, "")
	if _, err := p.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "that sx did not make; choose another name") {
		t.Errorf("%v", err)
	}
	for _, r := range s.Requests() {
		if verb, _, _ := strings.Cut(r, " "); verb != "get" && verb != "list" {
			t.Errorf("it did %s", r)
		}
	}
}

func TestOtherOptions(t *testing.T) {
	s := startCluster(t)
	first := newPool(t, "")
	connect(t, first).Client.Close()
	second := newPool(t, "limits.memory=1Gi")
	if _, err := second.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "1 other runs of sx use its pods, and those are of other options") {
		t.Errorf("%v", err)
	}
	must(t, first.Release(t.Context()))
	connect(t, second).Client.Close()
	s.Edit(theSet, func(o kubetest.Object) {
		spec := o["spec"].(kubetest.Object)["template"].(kubetest.Object)["spec"].(kubetest.Object)
		if spec["containers"].([]any)[0].(kubetest.Object)["resources"] == nil {
			t.Error("the pods are as before")
		}
	})
	must(t, second.Release(t.Context()))
}

// Pods that were started stay until they are ended; cleaning removes all of it.
func TestUpAndDown(t *testing.T) {
	s := startCluster(t)
	p := newPool(t, "replicas=2")
	must(t, p.Stop(t.Context(), false))
	if replicas(s) != -1 {
		t.Error("stopping made a StatefulSet")
	}
	must(t, p.Up(t.Context()))
	connect(t, p).Client.Close()
	must(t, p.Release(t.Context()))
	if replicas(s) != 2 {
		t.Errorf("a build left %d of 2 pods", replicas(s))
	}
	status, err := p.Status(t.Context())
	must(t, err)
	if !status.Running || status.Place != "kubernetes://test/builds/sx (2 of 2 pods ready)" {
		t.Errorf("%+v", status)
	}
	var log strings.Builder
	must(t, p.Logs(t.Context(), io.Writer(&log)))
	if log.String() != "pod sx-0:\nlog of sx-0\npod sx-1:\nlog of sx-1\n" {
		t.Errorf("the logs are %q", log.String())
	}
	must(t, p.Stop(t.Context(), false))
	if replicas(s) != 0 {
		t.Errorf("%d replicas", replicas(s))
	}
	s.Put("persistentvolumeclaims/builds/buildkitd-sx-0", kubetest.Object{"metadata": kubetest.Object{"name": "buildkitd-sx-0", "labels": labelled("sx", nil)}})
	s.Put("persistentvolumeclaims/builds/another", kubetest.Object{"metadata": kubetest.Object{"name": "another"}})
	must(t, p.Clean(t.Context(), false))
	for key, want := range map[string]bool{theSet: false, "poddisruptionbudgets.policy/builds/sx": false, "persistentvolumeclaims/builds/buildkitd-sx-0": false, "persistentvolumeclaims/builds/another": true} {
		s.Edit(key, func(o kubetest.Object) {
			if (o != nil) != want {
				t.Errorf("%s is there: %v", key, o != nil)
			}
		})
	}
}

// Each right that the account lacks is one error that names it.
func TestRights(t *testing.T) {
	for _, right := range []string{
		"get statefulsets.apps", "create statefulsets.apps", "update statefulsets.apps", "list pods", "get pods/exec",
		"get poddisruptionbudgets.policy", "create poddisruptionbudgets.policy",
	} {
		s := startCluster(t)
		s.Denied[right] = true
		p := newPool(t, "wait=5s")
		_, err := p.Connect(t.Context())
		verb, resource, _ := strings.Cut(right, " ")
		want := "the account tester may not " + verb + " " + resource + " in the namespace builds"
		var away *buildkit.EngineError
		if !errors.As(err, &away) || strings.Count(err.Error(), want) != 1 || !strings.Contains(err.Error(), "have a Role give it the verb "+verb+" on "+resource) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
