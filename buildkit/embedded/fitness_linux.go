package embedded

import (
	"fmt"
	"math"
	"os"

	"github.com/moby/sys/user"
	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
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
	userns  bool   // this root is root of a user namespace only
	ids     int64  // how many users and groups that namespace has
}

func thisMachine() (machine, error) {
	m := machine{root: os.Geteuid() == 0, userns: userns.RunningInUserNS()}
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
	m.ids, err = mappedIDs()
	return m, err
}

// mappedIDs is how many users and groups this user namespace has.
func mappedIDs() (int64, error) {
	least := int64(math.MaxInt64)
	for _, path := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		ranges, err := user.ParseIDMapFile(path)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", path, err)
		}
		n := int64(0)
		for _, r := range ranges {
			n += r.Count
		}
		least = min(least, n)
	}
	return least, nil
}

func (m machine) has(capability uint) bool { return m.caps&(1<<capability) != 0 }

// means are what a build on this machine uses.
type means struct {
	runc string  // path, or runcIsInside
	maps *idMaps // of the user namespace to build in; nil: none
}

// fitness looks at everything a build will need before anything is built.
func (e *Engine) fitness() (with means, err error) {
	m, err := thisMachine()
	if err != nil {
		return with, err
	}
	if err := m.check(); err != nil {
		return with, err
	}
	if with.maps, err = userMaps(); err != nil {
		return with, err
	}
	with.runc, err = m.findRunc(e.Runc, RuncInside() != "")
	return with, err
}

// userMaps are those of an ordinary user, nil for root.
func userMaps() (*idMaps, error) {
	if os.Geteuid() == 0 {
		return nil, nil
	}
	o, err := thisUser()
	if err != nil {
		return nil, err
	}
	return o.maps()
}

// check returns an *UnfitError where no runc could help.
func (m machine) check() error {
	for _, check := range []func() error{m.checkRights, m.checkIDs, m.checkFiles} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (m machine) checkRights() error {
	if !m.root || m.has(unix.CAP_SYS_ADMIN) {
		return nil
	}
	return &buildkit.UnfitError{
		Problem: "root here has no CAP_SYS_ADMIN, as in an unprivileged container, so it cannot mount or make namespaces",
		Remedy:  "run sx on the host, or start the container with --privileged",
	}
}

func (m machine) checkIDs() error {
	if m.ids > 0 && !(m.root && m.ids <= minIDs) {
		return nil
	}
	return &buildkit.UnfitError{
		Problem: fmt.Sprintf("this is a user namespace that has %d users or groups, but a build needs %d", m.ids, minIDs+1),
		Remedy:  "run sx outside of it, as an ordinary user for example, or give it more ids (podman: --userns, /etc/subuid)",
	}
}

func (m machine) checkFiles() error {
	if m.nofile >= nofileHard || !m.userns && m.has(unix.CAP_SYS_RESOURCE) {
		return nil
	}
	return &buildkit.UnfitError{
		Problem: fmt.Sprintf("the hard limit of open files is %d, but StageX builds run with %d", m.nofile, nofileHard),
		Remedy:  fmt.Sprintf("raise it (as root: ulimit -Hn %d; for a user: a line \"* hard nofile %d\" in /etc/security/limits.conf and a new login; LimitNOFILE= of a service; --ulimit nofile=%d of a container)", nofileHard, nofileHard, nofileHard),
	}
}
