package enginetest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The container in podman has the life of sx's own engine: it starts when it is
// needed, knows who uses it, even after an sx that was killed, is restarted if it is
// killed during a build, and ends when it is told to.
func TestPodmanLife(t *testing.T) {
	if !slices.ContainsFunc(wantedEngines(t), func(e Engine) bool { return e.Name == "podman" }) {
		t.Skip("SX_TEST_ENGINES names other engines")
	}
	if err := programs.BuildStock("buildkitd", "buildctl"); err != nil {
		t.Fatal(err)
	}
	tree, mark := newSleeper(t, 2*time.Second)
	tree.Sx("build", "core-sleep")
	want := tree.Digest("core-sleep")
	tree.Env = append(tree.Env, openPodman(t, &Stock{programs: programs})...)
	podman := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("podman", args...)
		cmd.Path, cmd.Env = strings.TrimPrefix(strings.Split(tree.Env[len(tree.Env)-1], ":")[0], "PATH=")+"/podman", tree.Env
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("podman %q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	status := func(want string) bool { return strings.Contains(tree.Sx("engine", "status"), want) }

	if !status("podman engine: not running") {
		t.Error("it runs before it is needed")
	}
	run := tree.Start("build", "core-sleep", "--no-cache")
	tree.Sleeping(mark)
	if !status("for 1 sx") {
		t.Errorf("while it builds:\n%s", tree.Sx("engine", "status"))
	}
	if r := tree.Start("engine", "stop").Want(1); !strings.Contains(r.Stderr.String(), "another sx is using the engine: wait for it, end it, or use --force") {
		t.Errorf("stopping it under a build: %s", &r.Stderr)
	}
	run.Cmd.Process.Kill()
	run.Wait()
	Until(t, patience, "the killed sx is forgotten", func() bool { return status("idle") })

	run = tree.Start("build", "core-sleep", "--no-cache")
	tree.Sleeping(mark)
	podman("kill", podman("ps", "--quiet"))
	run.Want(0)
	if got := tree.Digest("core-sleep"); got != want {
		t.Errorf("after the container was killed the digest is %s, the embedded engine's is %s", got, want)
	}

	tree.Sx("engine", "stop")
	if !status("podman engine: not running") {
		t.Error("it was not stopped")
	}
	tree.Sx("engine", "clean")
	if left := podman("ps", "--all", "--quiet") + podman("volume", "ls", "--quiet"); left != "" {
		t.Errorf("left by engine clean: %s", left)
	}
}
