package buildkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// nofile is the hard limit of open files that upstream's builds set
// (`--ulimit nofile=2048:16384`, upstream: src/targets.py).
const nofileHard = 16384

// fitness looks at everything a build will need before anything is built, and
// returns the path of the runc to use.
func (e *Embedded) fitness() (runc string, err error) {
	if os.Geteuid() != 0 {
		return "", &UnfitError{"the embedded engine needs root", "run sx as root (sudo sx …)"}
	}
	if err := checkNamespaces(); err != nil {
		return "", err
	}
	if err := checkNofile(); err != nil {
		return "", err
	}
	return findRunc(e.Runc)
}

func checkNamespaces() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	if !hasCap(data, unix.CAP_SYS_ADMIN) {
		return &UnfitError{
			"root here has no CAP_SYS_ADMIN, as in an unprivileged container, so it cannot mount or make namespaces",
			"run sx on the host, or start the container with --privileged",
		}
	}
	return nil
}

func hasCap(data [2]unix.CapUserData, c uint) bool {
	return data[c/32].Effective&(1<<(c%32)) != 0
}

func checkNofile() error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if lim.Max >= nofileHard {
		return nil
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) == nil && hasCap(data, unix.CAP_SYS_RESOURCE) {
		return nil
	}
	return &UnfitError{
		fmt.Sprintf("the hard limit of open files is %d, but StageX builds run with %d", lim.Max, nofileHard),
		fmt.Sprintf("raise it (ulimit -Hn %d, LimitNOFILE= in the service, or --ulimit nofile=%d of the container)", nofileHard, nofileHard),
	}
}

// findRunc takes the given program or the one in PATH, and refuses one that
// would fail every RUN or give other bytes.
func findRunc(path string) (string, error) {
	if path == "" {
		path = "runc"
	}
	full, err := exec.LookPath(path)
	if err != nil {
		return "", &UnfitError{
			fmt.Sprintf("there is no %q, the program that runs build steps", path),
			"install runc (Debian: apt-get install runc) or name one in engine.runc of stagex.toml",
		}
	}
	if full, err = filepath.Abs(full); err != nil {
		return "", err
	}
	out, err := exec.Command(full, "features").Output()
	var features struct {
		Linux struct {
			Seccomp struct {
				Enabled bool `json:"enabled"`
			} `json:"seccomp"`
		} `json:"linux"`
		Annotations map[string]string `json:"annotations"`
	}
	if err == nil {
		err = json.Unmarshal(out, &features)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return "", &UnfitError{
			fmt.Sprintf("%s does not know `features`: it is too old, or not runc (crun gives other bytes)", full),
			"install runc 1.1 or newer",
		}
	case err != nil:
		return "", &UnfitError{fmt.Sprintf("%s cannot be used: %v", full, err), "install runc 1.1 or newer"}
	case !isRunc(features.Annotations):
		return "", &UnfitError{fmt.Sprintf("%s is not runc; other runtimes give other bytes", full), "install runc 1.1 or newer"}
	case !features.Linux.Seccomp.Enabled && kernelHasSeccomp():
		return "", &UnfitError{
			fmt.Sprintf("%s was built without seccomp, so every build step would fail", full),
			"install a runc with seccomp (the Debian package has it)",
		}
	}
	return full, nil
}

// isRunc tells runc from other runtimes by the annotations that only runc
// gives (runc: features.go).
func isRunc(annotations map[string]string) bool {
	_, ok := annotations["org.opencontainers.runc.version"]
	return ok
}

func kernelHasSeccomp() bool {
	_, err := os.Stat("/proc/sys/kernel/seccomp/actions_avail")
	return err == nil
}
