package remote

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
)

// fakePodman answers each command by a line of a shell's case, and logs it.
func fakePodman(t *testing.T, cases string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$*\" >>" + log + "\ncase \"$*\" in\n" + cases + "\n*) echo \"Error: unexpected: $*\" >&2; exit 125;;\nesac\n"
	must(t, os.WriteFile(filepath.Join(dir, "podman"), []byte(script), 0o755))
	t.Setenv("PATH", dir)
	return log
}

// A podman that hangs, as one does whose locks another holds, is given up.
func TestPodmanHangs(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	fakePodman(t, `"container inspect "*) exec `+sleep+` 600;;`)
	began := time.Now()
	_, err = podmanWithin(t.Context(), 50*time.Millisecond, "container", "inspect", "x")
	if err == nil || err.Error() != "podman container did not answer within 50ms" || time.Since(began) > time.Minute {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// What keeps podman from running a BuildKit is said with the way out.
func TestPodmanUnfit(t *testing.T) {
	p := &Podman{Image: "localhost/buildkit:1"}
	noContainer := `"container inspect "*) echo "Error: no such container x" >&2; exit 125;;` + "\n"
	for what, c := range map[string]struct{ cases, want string }{
		"no image": {noContainer + `"run "*) echo "Trying to pull" >&2; echo "Error: no such image" >&2; exit 125;;`,
			"it cannot run a container of localhost/buildkit:1: Error: no such image; see whether podman pull localhost/buildkit:1 works"},
		"a broken podman": {`*) echo "Error: no subuid ranges" >&2; exit 125;;`, "Error: no subuid ranges; make podman info work for this user"},
		"a container that does not start": {`"container inspect "*) echo exited;;` + "\n" + `"container start "*) echo "Error: no" >&2; exit 125;;`,
			"Error: no; remove the container, so that sx creates another: podman rm -f " + p.name()},
		"a buildkitd that ends": {`"container start "*) ;;` + "\n" + `"container inspect "*) echo exited;;` + "\n" +
			`"logs "*) echo "buildkitd: no root" >&2;;` + "\n" + `"exec "*) exit 255;;`, "buildkitd in the container ended: buildkitd: no root; see podman logs"},
	} {
		log := fakePodman(t, c.cases)
		_, err := p.Connect(t.Context())
		var refused *buildkit.EngineError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			said, _ := os.ReadFile(log)
			t.Errorf("%s: %v\nwant %s\n%s", what, err, c.want, said)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := p.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no podman in PATH, which is needed to reach it; install it (Debian: apt-get install podman)") {
		t.Errorf("without podman: %v", err)
	}
}

// A Ctrl-C, which goes to the terminal's whole group, is not podman's.
func TestPodmanSession(t *testing.T) {
	fakePodman(t, `*) kill -CONT 0; echo running;;`) // to its own group
	told := make(chan os.Signal, 2)
	signal.Notify(told, syscall.SIGCONT, syscall.SIGWINCH)
	defer signal.Stop(told)
	if state, err := (&Podman{}).state(t.Context()); state != "running" || err != nil {
		t.Fatalf("got %q, %v", state, err)
	}
	must(t, syscall.Kill(os.Getpid(), syscall.SIGWINCH)) // comes after any SIGCONT
	if s := <-told; s != syscall.SIGWINCH {
		t.Errorf("podman is in the group of sx: %v", s)
	}
}

// Two images never share a container: one's sx must not stop the other's night.
func TestPodmanNames(t *testing.T) {
	a, b := (&Podman{Image: "a"}).name(), (&Podman{Image: "b"}).name()
	if a == b || a != (&Podman{Image: "a"}).name() {
		t.Errorf("the containers are %s and %s", a, b)
	}
}
