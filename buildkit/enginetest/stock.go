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

// Stock is a stock buildkitd with its buildctl.
type Stock struct {
	Dir      string // of its state
	Socket   string
	t        testing.TB
	programs Programs
	buildctl string
	addr     string
	args     []string
	certs    string // folder of [MutualTLS], where it listens at a port
	port     int
	env      []string // over the environment of the test
	host     int      // the process whose network namespace it runs in; 0: the test's own
	cmd      *exec.Cmd
	log      Buffer
}

// StartStock starts buildkitd, compiled by [Programs.BuildStock], with further
// arguments. Its mounts end with the test.
func StartStock(t testing.TB, p Programs, args ...string) *Stock {
	t.Helper()
	s := &Stock{}
	s.start(t, p, args...)
	return s
}

func (s *Stock) start(t testing.TB, p Programs, args ...string) {
	t.Helper()
	s.Dir = t.TempDir()
	s.Socket = filepath.Join(s.Dir, "sock")
	s.t, s.programs, s.buildctl, s.addr, s.args = t, p, p.path("buildctl"), "unix://"+s.Socket, args
	s.Start()
	t.Cleanup(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
		if t.Failed() {
			t.Logf("buildkitd: %s", &s.log)
		}
	})
}

// Start starts buildkitd, again after a [Stock.Kill].
func (s *Stock) Start() {
	s.t.Helper()
	args := append([]string{"--root", filepath.Join(s.Dir, "root"), "--addr", s.addr, "--containerd-worker=false", "--oci-worker-gc=false"}, s.args...)
	args = append([]string{s.programs.path("buildkitd")}, args...)
	if s.host > 0 {
		args = inside(s.host, args...)
	}
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	ownMounts(s.cmd)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	Until(s.t, 30*time.Second, "buildkitd answers", func() bool {
		return exec.Command(s.buildctl, "--addr", s.addr, "debug", "workers").Run() == nil
	})
}

// Kill ends buildkitd as a power cut would.
func (s *Stock) Kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// step is an output in `sx build --dry-run --json`.
type step struct {
	Ref     string        `json:"ref"`
	Request graph.Request `json:"request"`
}

// Requests returns the requests of all outputs, dependencies first.
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

// Args returns the arguments for buildctl. Contexts are named as buildx names them.
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
