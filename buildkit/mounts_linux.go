package buildkit

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
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
// there, such as what /etc/resolv.conf leads to, is there still, by links. It
// needs a mount point for a moment: a folder in dir.
func coverRun(dir string) error {
	entries, err := os.ReadDir("/run")
	if err != nil {
		return err
	}
	aside := filepath.Join(dir, "run")
	if err := os.Mkdir(aside, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Mount("/run", aside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding /run: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on /run: %w", err)
	}
	const host = ".host"
	if err := os.Mkdir(filepath.Join("/run", host), 0o755); err != nil {
		return err
	}
	if err := unix.Mount(aside, filepath.Join("/run", host), "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving /run: %w", err)
	}
	os.Remove(aside)
	for _, e := range entries {
		if name := e.Name(); name != filepath.Base(runcRoot) {
			if err := os.Symlink(filepath.Join(host, name), filepath.Join("/run", name)); err != nil {
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
		return &UnfitError{fmt.Sprintf("setting up the engine's mounts was refused (%v)", err), "in a container, start it with --privileged"}
	}
	return err
}
