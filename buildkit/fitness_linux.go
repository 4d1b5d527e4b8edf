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

// nofileHard is the hard limit of open files that upstream's builds set
// (`--ulimit nofile=2048:16384`, upstream: src/targets.py).
const nofileHard = 16384

// machine is what decides whether sx can build here.
type machine struct {
	root    bool
	caps    uint64 // effective capabilities, a bit each
	nofile  uint64 // hard limit of open files
	seccomp bool   // the kernel filters system calls
}

func thisMachine() (machine, error) {
	m := machine{root: os.Geteuid() == 0}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return m, fmt.Errorf("reading capabilities: %w", err)
	}
	m.caps = uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return m, fmt.Errorf("reading the limit of open files: %w", err)
	}
	m.nofile = lim.Max
	_, err := os.Stat("/proc/sys/kernel/seccomp/actions_avail")
	m.seccomp = err == nil
	return m, nil
}

func (m machine) has(capability uint) bool { return m.caps&(1<<capability) != 0 }

// fitness looks at everything a build will need before anything is built, and
// returns the path of the runc to use.
func (e *Embedded) fitness() (runc string, err error) {
	m, err := thisMachine()
	if err != nil {
		return "", err
	}
	if err := m.check(); err != nil {
		return "", err
	}
	return m.findRunc(e.Runc)
}

// check returns an *UnfitError where no runc could help.
func (m machine) check() error {
	switch {
	case !m.root:
		return &UnfitError{"the embedded engine needs root", "run sx as root (sudo sx …)"}
	case !m.has(unix.CAP_SYS_ADMIN):
		return &UnfitError{
			"root here has no CAP_SYS_ADMIN, as in an unprivileged container, so it cannot mount or make namespaces",
			"run sx on the host, or start the container with --privileged",
		}
	case m.nofile < nofileHard && !m.has(unix.CAP_SYS_RESOURCE):
		return &UnfitError{
			fmt.Sprintf("the hard limit of open files is %d, but StageX builds run with %d", m.nofile, nofileHard),
			fmt.Sprintf("raise it (ulimit -Hn %d, LimitNOFILE= in the service, or --ulimit nofile=%d of the container)", nofileHard, nofileHard),
		}
	}
	return nil
}

// findRunc takes the given program or the one in PATH, and refuses one that
// would fail every RUN or give other bytes.
func (m machine) findRunc(path string) (string, error) {
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
	case !features.Linux.Seccomp.Enabled && m.seccomp:
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
