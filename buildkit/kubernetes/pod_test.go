package kubernetes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/kubernetes/kubetest"
)

// A pod is reached through the API server, without kubectl; when it is killed the
// connection ends, with the reason.
func TestPod(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	s := startCluster(t)
	s.AddPod("builds", "p", kubetest.Ready())
	for _, address := range []string{"kube-pod://p", "kube-pod://p?namespace=builds&container=buildkitd&context=test"} {
		p, err := NewPod(address)
		must(t, err)
		c, err := p.Connect(t.Context())
		must(t, err)
		info, err := c.Client.Info(t.Context())
		must(t, err)
		if info.BuildkitVersion.Version != "v0.34.2" {
			t.Errorf("%s: it answers %+v", address, info)
		}
		c.Client.Close()
	}
	p, err := NewPod("kube-pod://p")
	must(t, err)
	conn, err := p.cluster.dialStdio(t.Context(), "builds", "p", "buildkitd")
	must(t, err)
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	s.Kill("builds", "p")
	buf := make([]byte, 1024)
	for err == nil {
		_, err = conn.Read(buf)
	}
	if !strings.Contains(err.Error(), "killed") {
		t.Errorf("the reason is %v", err)
	}
}

// Each way in which a pod cannot be reached is told with a way out.
func TestPodRefusals(t *testing.T) {
	s := startCluster(t)
	s.AddPod("builds", "p", kubetest.Ready())
	s.AddPod("builds", "pulling", kubetest.Object{"phase": "Pending", "containerStatuses": []any{
		kubetest.Object{"state": kubetest.Object{"waiting": kubetest.Object{"reason": "ImagePullBackOff", "message": "no such image"}}}}})
	for _, c := range []struct {
		address, want string
		before        func()
	}{
		{address: "kube-pod://none", want: `pods "none" not found; check the address`},
		{address: "kube-pod://pulling", want: "the pod is not ready: ImagePullBackOff: no such image; see kubectl --namespace=builds describe pod pulling"},
		{address: "kube-pod://p?container=x", want: `no container "x"; it has buildkitd; name another in container=`},
		{address: "kube-pod://p?context=none", want: `context "none" does not exist`},
		{address: "kube-pod://p", want: "the account tester may not get pods in the namespace builds", before: func() { s.Denied["get pods"] = true }},
		{address: "kube-pod://p", want: "have a Role give it the verb get on pods/exec; docs/kubernetes.md lists the rights", before: func() { s.Denied = map[string]bool{"get pods/exec": true} }},
		{address: "kube-pod://p", want: "no buildkitd answers in the container (error: dial unix /none/sock", before: func() {
			s.Denied = nil
			s.Command = func(string, []string) []string { return []string{"env", dialVar + "=/none/sock", os.Args[0]} }
		}},
		{address: "kube-pod://p", want: "there is no buildctl in the container", before: func() {
			s.Command = func(string, []string) []string { return []string{"/none/buildctl"} }
		}},
		{address: "kube-pod://p", want: "does not accept the credentials of the context test; log in", before: func() { s.Token = "another" }},
		{address: "kube-pod://p", want: "nothing listens at the API server's address", before: func() { s.Close() }},
		{address: "kube-pod://p", want: "there is no kubeconfig, and this is not a pod", before: func() { t.Setenv("KUBECONFIG", "/none") }},
	} {
		if c.before != nil {
			s.Do(c.before)
		}
		p, err := NewPod(c.address)
		must(t, err)
		conn, err := p.Connect(t.Context())
		if err == nil {
			conn.Client.Close()
		}
		var refused *buildkit.EngineError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address) {
			t.Errorf("%s: %v\nwant %s", c.address, err, c.want)
		}
	}
}

// An address that cannot be one is refused before anything is asked.
func TestPodAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"kube-pod://pod-0": true, "kube-pod://pod-0?namespace=n&container=c&context=a/b": true,
		"kube-pod://": false, "kube-pod://UPPER": false, "kube-pod://p/x": false, "kube-pod://me@p": false,
		"kube-pod://p?pod=x": false, "kube-pod://p?namespace=N": false, "tcp://p": false,
	} {
		if _, err := NewPod(address); (err == nil) != ok {
			t.Errorf("%s: %v, want ok %v", address, err, ok)
		}
	}
}

// A kubeconfig's program gives the credentials: again when they are refused, within a
// time limit, and with its own words when it has none.
func TestCredentialPlugin(t *testing.T) {
	s := startCluster(t)
	s.AddPod("builds", "p", kubetest.Ready())
	dir := t.TempDir()
	plugin := func(script string) *Pod {
		path := filepath.Join(dir, "plugin")
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755))
		data, err := os.ReadFile(s.Kubeconfig(t))
		must(t, err)
		text := strings.ReplaceAll(string(data), `{token: "`+s.Token+`"}`,
			`{exec: {apiVersion: client.authentication.k8s.io/v1, command: `+path+`, args: [get-token], interactiveMode: Never}}`)
		config := filepath.Join(dir, "config")
		must(t, os.WriteFile(config, []byte(text), 0o600))
		t.Setenv("KUBECONFIG", config)
		p, err := NewPod("kube-pod://p")
		must(t, err)
		return p
	}
	const credential = `printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' `
	p := plugin(`case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 3;; esac; cat ` + dir + `/token | xargs ` + credential)
	must(t, os.WriteFile(dir+"/token", []byte("a-token"), 0o600))
	get := func(p *Pod) error {
		var found pod
		err := p.cluster.do(t.Context(), request{verb: "get", resource: "pods", namespace: "builds", name: "p"}, &found)
		if err != nil {
			return place{engine: "e", cluster: p.cluster, namespace: "builds"}.explain(err)
		}
		return nil
	}
	must(t, get(p))
	s.Do(func() { s.Token = "another" })
	must(t, os.WriteFile(dir+"/token", []byte("another"), 0o600))
	must(t, get(p)) // the first answer is 401
	for script, want := range map[string]string{
		"echo please log in >&2; exit 1": "please log in",
		"echo x":                         "is not an ExecCredential",
		"printf '{\"status\":{}}'":       "neither a token nor a certificate",
	} {
		if err := get(plugin(script)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "run it by hand") {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}
