package embedded

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// runcRoot is where runc keeps its containers. In the engine's mount namespace
// it is a folder of the engine's own, which holds its programs too: a tree's path
// may hold a colon, and PATH may not. And it holds BuildKit's temporary mount
// points, which a killed engine would leave in /tmp.
const (
	runcRoot = "/run/runc"
	binDir   = runcRoot + "/.bin"
	tempDir  = runcRoot + "/.tmp"
)

// isolate makes this process's mounts its own and gives it a /proc of its PID
// namespace and a runtime folder for runc that vanishes with it.
func isolate(cfg childConfig) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if cfg.Maps != "" {
		if err := coverRun(cfg.Dir); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%w: %w", errProc, err)
	}
	if err := os.MkdirAll(runcRoot, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", runcRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("mounting %s: %w", runcRoot, err)
	}
	return os.Mkdir(tempDir, 0o700)
}

// coverRun puts a tmpfs over /run, in which only root may make folders. What was
// there, such as what /etc/resolv.conf leads to, is there still, by links. It is
// made in dir, which may itself lie in /run, and moved.
func coverRun(dir string) error {
	entries, err := os.ReadDir("/run")
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, "run")
	if err := os.Mkdir(aside, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Mount("tmpfs", aside, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	if err := linkAll(aside, "/run", entries); err != nil {
		return err
	}
	if err := unix.Mount(aside, "/run", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("covering /run: %w", err)
	}
	unix.Unmount(aside, unix.MNT_DETACH) // its copy in what was bound, if dir lies in /run
	os.Remove(aside)
	return nil
}

// linkAll makes the entries of from, but for what the engine makes itself, appear
// in the folder at path.
func linkAll(path, from string, entries []os.DirEntry) error {
	const host = ".host"
	bound := filepath.Join(path, host)
	if err := os.Mkdir(bound, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(from, bound, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s: %w", from, err)
	}
	for _, e := range entries {
		if name := e.Name(); name != filepath.Base(runcRoot) {
			if err := os.Symlink(filepath.Join(host, name), filepath.Join(path, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// refusedMounts explains why what the engine may do elsewhere is forbidden here.
func refusedMounts(cfg childConfig, err error) error {
	if cfg.Maps != "" {
		o := ordinary{sysctls: map[string]string{}}
		o.readKernel()
		if o.exe, _ = os.Executable(); o.exe == "" {
			o.exe = "sx"
		}
		return o.refused("setting up the engine's mounts", err)
	}
	if isForbidden(err) {
		return &buildkit.UnfitError{Problem: fmt.Sprintf("setting up the engine's mounts was refused (%v)", err), Remedy: "in a container, start it with --privileged"}
	}
	return err
}
