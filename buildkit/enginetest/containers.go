package enginetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
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

// BuildKitImage writes an image as `docker save` does: the stock buildkitd and
// buildctl, and this machine's runc and xz with their libraries. Its state is a
// volume, as in BuildKit's own image, because overlayfs does not work on the
// container's overlayfs.
func BuildKitImage(t testing.TB, p Programs) string {
	t.Helper()
	layer := new(bytes.Buffer)
	tw := tar.NewWriter(layer)
	add := func(w *tar.Writer, name string, mode int64, data []byte) {
		t.Helper()
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	files := map[string]string{"usr/bin/buildkitd": p.path("buildkitd"), "usr/bin/buildctl": p.path("buildctl")}
	for _, name := range []string{"runc", "xz"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		files["usr/bin/"+name] = path
		for _, lib := range libraries(t, path) {
			files[strings.TrimPrefix(lib, "/")] = lib
		}
	}
	for name, path := range files {
		add(tw, name, 0o755, readFile(t, path))
	}
	add(tw, "etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		t.Fatal(err)
	}
	tw.Close()

	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image := tar.NewWriter(f)
	add(image, "config.json", 0o644, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/usr/bin/buildkitd"],"Env":["PATH=/usr/bin"],"Volumes":{"/var/lib/buildkit":{}}},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, sha256.Sum256(layer.Bytes())))
	add(image, "layer.tar", 0o644, layer.Bytes())
	add(image, "manifest.json", 0o644, fmt.Appendf(nil, `[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, buildkitImage))
	if err := image.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// libraries returns the libraries that a program loads when it starts; none if it is
// static.
func libraries(t testing.TB, program string) (paths []string) {
	t.Helper()
	out, _ := exec.Command("ldd", program).Output() // fails for a static program
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		paths = append(paths, m[1])
	}
	return paths
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
