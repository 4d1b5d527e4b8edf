package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit/enginetest/image"
)

// openDocker starts a dockerd with the containerd image store, from the folder in
// SX_TEST_DOCKERD (scripts/dockerd compiles one).
func openDocker(t testing.TB, _ *Stock) Way {
	t.Helper()
	return StartDockerd(t, "--feature", "containerd-snapshotter=true")
}

// StartDockerd starts the dockerd of SX_TEST_DOCKERD, without a network.
func StartDockerd(t testing.TB, args ...string) Way {
	t.Helper()
	bin, dir := os.Getenv("SX_TEST_DOCKERD"), t.TempDir()
	if bin == "" {
		t.Fatal("SX_TEST_DOCKERD names no folder that scripts/dockerd filled")
	}
	host := "unix://" + dir + "/docker.sock"
	var log Buffer
	d := exec.Command(filepath.Join(bin, "dockerd"), append([]string{
		"--host", host, "--data-root", dir + "/data", "--exec-root", dir + "/exec", "--pidfile", dir + "/pid",
		"--config-file", dir + "/none.json", "--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false",
	}, args...)...)
	d.Env = append(os.Environ(), withPath(bin))
	d.Stdout, d.Stderr = &log, &log
	ownMounts(d)
	if err := os.WriteFile(dir+"/none.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Process.Signal(syscall.SIGTERM)
		d.Wait()
		if t.Failed() {
			t.Logf("dockerd: %s", &log)
		}
	})
	Until(t, time.Minute, "dockerd answers", func() bool {
		return exec.Command(dockerClient(), "--host", host, "version").Run() == nil
	})
	return Way{"SX_ENGINE_ADDRESS=docker", "DOCKER_HOST=" + host}
}

// dockerClient returns a client that a current dockerd accepts.
func dockerClient() string { return filepath.Join(os.Getenv("SX_TEST_DOCKERD"), "client", "docker") }

// openDockerContainer runs a buildkitd in a container of a dockerd.
func openDockerContainer(t testing.TB, s *Stock) Way {
	t.Helper()
	way := StartDockerd(t)
	docker := func(args ...string) {
		t.Helper()
		cmd := exec.Command(dockerClient(), args...)
		cmd.Env = append(os.Environ(), way...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker %q: %v\n%s", args, err, out)
		}
	}
	docker("load", "-i", BuildKitImage(t, s.programs))
	docker("run", "-d", "--name=sx-test-buildkitd", "--privileged", "--network=host",
		"--ulimit=nofile=16384:16384", buildkitImage)
	t.Cleanup(func() { docker("rm", "-f", "-v", "sx-test-buildkitd") })
	Until(t, 30*time.Second, "buildkitd in the container answers", func() bool {
		return exec.Command(dockerClient(), "--host", strings.TrimPrefix(way[1], "DOCKER_HOST="), "exec", "sx-test-buildkitd", "buildctl", "debug", "workers").Run() == nil
	})
	return Way{"SX_ENGINE_ADDRESS=docker-container://sx-test-buildkitd", way[1], withPath(filepath.Dir(dockerClient()))}
}

// openPodman lets sx create its container from an image that is loaded from a file.
// Podman has a storage of its own.
func openPodman(t testing.TB, s *Stock) Way {
	t.Helper()
	podman, err := exec.LookPath("podman")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := fakeProgram(t, "podman", fmt.Sprintf(`exec %q --root %[2]s/root --runroot %[2]s/run --cgroup-manager=cgroupfs "$@"`, podman, dir))
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(filepath.Join(bin, "podman"), args...).CombinedOutput(); err != nil {
			t.Errorf("podman %q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		run("rm", "--all", "--force", "--volumes")
		run("rmi", "--all", "--force")
		run("system", "reset", "--force")
	})
	run("load", "-i", BuildKitImage(t, s.programs))
	return Way{"SX_ENGINE_ADDRESS=podman", "SX_ENGINE_PODMAN_IMAGE=localhost/" + buildkitImage, withPath(bin)}
}

const buildkitImage = "sx-test/buildkit:latest"

// BuildKitImage writes an image of the stock buildkitd, as `docker save` does.
func BuildKitImage(t testing.TB, p Programs) string {
	t.Helper()
	i, err := image.BuildKit(buildkitImage, p.path("buildkitd"), p.path("buildctl"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := i.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}
