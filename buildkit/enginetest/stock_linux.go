package enginetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/stagex/sx/graph"
)

// Stock is a running stock buildkitd and the buildctl that goes with it.
type Stock struct {
	t        testing.TB
	buildctl string
	addr     string
}

// StartStock starts buildkitd, compiled by [Programs.BuildStock]. Its mounts
// are its own and end with the test.
func StartStock(t testing.TB, p Programs) *Stock {
	t.Helper()
	dir := t.TempDir()
	s := &Stock{t: t, buildctl: p.path("buildctl"), addr: "unix://" + filepath.Join(dir, "sock")}
	var log Buffer
	cmd := exec.Command(p.path("buildkitd"), "--root", filepath.Join(dir, "root"), "--addr", s.addr,
		"--containerd-worker=false", "--oci-worker-gc=false")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("buildkitd: %s", &log)
		}
	})
	Until(t, 30*time.Second, "buildkitd answers", func() bool {
		return exec.Command(s.buildctl, "--addr", s.addr, "debug", "workers").Run() == nil
	})
	return s
}

// step is what `sx build --dry-run --json` says of an output.
type step struct {
	Ref     string        `json:"ref"`
	Request graph.Request `json:"request"`
}

// Requests are those of all outputs, dependencies first.
func (t *Tree) Requests() []step {
	t.t.Helper()
	var plan struct{ Steps []step }
	t.must(json.Unmarshal([]byte(t.Sx("build", "--all", "--dry-run", "--json")), &plan))
	return plan.Steps
}

// Build builds one output of a tree as upstream's make does (upstream:
// src/targets.py, TARGET_TEMPLATE), into out/ of the tree.
func (s *Stock) Build(tree *Tree, st step) {
	s.t.Helper()
	r := st.Request
	out := tree.Path("out", st.Ref)
	tree.mkdir("out/" + st.Ref)
	tree.mkdir(r.Fetch)
	tree.must(os.RemoveAll(tree.Path(r.Context, "fetch")))
	tree.must(exec.Command("cp", "-lR", tree.Path(r.Fetch), tree.Path(r.Context, "fetch")).Run())
	build := exec.Command(s.buildctl, s.Args(tree, r, "tar=true,dest=-")...)
	untar := exec.Command("tar", "-C", out, "-mx")
	var log, tarLog Buffer
	build.Stderr, untar.Stderr = &log, &tarLog
	var err error
	untar.Stdin, err = build.StdoutPipe()
	tree.must(err)
	tree.must(build.Start())
	tree.must(untar.Start())
	if err := untar.Wait(); err != nil {
		s.t.Errorf("unpacking %s: %v: %s", st.Ref, err, &tarLog)
	}
	if err := build.Wait(); err != nil {
		s.t.Fatalf("building %s: %v\n%s", st.Ref, err, &log)
	}
}

// Args are buildctl's. Contexts are named as buildx names them.
func (s *Stock) Args(tree *Tree, r graph.Request, output string) []string {
	args := []string{
		"--addr", s.addr, "build", "--progress=plain", "--frontend=dockerfile.v0",
		"--opt=filename=Containerfile",
		"--local=context=" + tree.Path(r.Context), "--local=dockerfile=" + tree.Path(r.Context),
		"--local=fetch=" + tree.Path(r.Fetch), "--opt=context:fetch=local:fetch",
		"--opt=platform=" + strings.Join(r.Platforms, ","),
		"--opt=ulimit=" + strings.Join(r.Ulimits, ","),
	}
	if r.Target != "" {
		args = append(args, "--opt=target="+r.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(r.BuildArgs)) {
		args = append(args, "--opt=build-arg:"+k+"="+r.BuildArgs[k])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Contexts)) {
		layout := tree.Path(r.Contexts[name])
		store := filepath.Base(layout)
		args = append(args, "--oci-layout="+store+"="+layout,
			fmt.Sprintf("--opt=context:%s=oci-layout://%s@%s", name, store, tree.indexDigest(layout)))
	}
	export := "--output=type=oci,name=" + strings.Join(r.Tags, ",") + ",rewrite-timestamp=true,force-compression=true"
	for _, k := range slices.Sorted(maps.Keys(r.Annotations)) {
		export += ",annotation." + k + "=" + r.Annotations[k]
	}
	return append(args, export+","+output)
}

func (t *Tree) indexDigest(layout string) string {
	t.t.Helper()
	data, err := os.ReadFile(filepath.Join(layout, "index.json"))
	t.must(err)
	var index struct{ Manifests []struct{ Digest string } }
	t.must(json.Unmarshal(data, &index))
	return index.Manifests[0].Digest
}
