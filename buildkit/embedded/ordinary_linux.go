package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// ordinary is what decides whether an ordinary user can build here. The zero
// value of each fact is that nothing is in the way.
type ordinary struct {
	name     string
	uid, gid int
	exe      string // the path of sx
	// newuidmap and newgidmap are paths, empty where missing; plain those of them
	// that may do no more than their caller.
	newuidmap, newgidmap string
	plain                []string
	// all is what /etc/subuid and /etc/subgid give to anybody.
	subuid, subgid []user.SubID
	allIDs         []user.SubID

	noNewPrivs bool // no program gets more rights than this one
	filtered   bool // a seccomp filter is on, as in containers
	// sysctls by name, only those that the kernel has.
	sysctls map[string]string
}

// The settings of a kernel that keep users from user namespaces.
const (
	sysctlClone    = "kernel.unprivileged_userns_clone"             // Debian before 11, linux-hardened
	sysctlMax      = "user.max_user_namespaces"                     // RHEL 7
	sysctlApparmor = "kernel.apparmor_restrict_unprivileged_userns" // Ubuntu since 23.10
	subuidFile     = "/etc/subuid"
	subgidFile     = "/etc/subgid"
)

func thisUser() (ordinary, error) {
	o := ordinary{uid: os.Getuid(), gid: os.Getgid(), sysctls: map[string]string{}}
	o.name = strconv.Itoa(o.uid)
	if u, err := osuser.LookupId(o.name); err == nil {
		o.name = u.Username
	}
	var err error
	if o.exe, err = os.Executable(); err != nil {
		return o, err
	}
	o.newuidmap, o.newgidmap = o.helper("newuidmap"), o.helper("newgidmap")
	if err := o.readRanges(); err != nil {
		return o, err
	}
	o.readKernel()
	return o, nil
}

// helper finds a program and notes where it lost the rights it must have.
func (o *ordinary) helper(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	// Debian sets the set-uid bit, Fedora a file capability.
	if n, err := unix.Getxattr(path, "security.capability", nil); info.Mode()&fs.ModeSetuid == 0 && (err != nil || n == 0) {
		o.plain = append(o.plain, path)
	}
	return path
}

func (o *ordinary) readRanges() (err error) {
	if o.subuid, err = o.ranges(subuidFile); err != nil {
		return err
	}
	if o.subgid, err = o.ranges(subgidFile); err != nil {
		return err
	}
	return nil
}

// ranges are what file gives this user by name or by number. Where it gives
// nothing, getsubids is asked, which knows the ranges of a directory service.
func (o *ordinary) ranges(file string) (own []user.SubID, err error) {
	all, err := user.ParseSubIDFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	o.allIDs = append(o.allIDs, all...)
	for _, r := range all {
		if (r.Name == o.name || r.Name == strconv.Itoa(o.uid)) && r.Count > 0 {
			own = append(own, r)
		}
	}
	if len(own) > 0 {
		return own, nil
	}
	args := []string{o.name}
	if file == subgidFile {
		args = []string{"-g", o.name}
	}
	out, err := ask("getsubids", args...)
	if err != nil {
		return nil, nil // not there, or no ranges
	}
	return parseGetsubids(out), nil
}

// parseGetsubids reads lines such as "0: alice 100000 65536".
func parseGetsubids(out []byte) (ranges []user.SubID) {
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 4 {
			continue
		}
		start, err1 := strconv.ParseInt(f[2], 10, 64)
		count, err2 := strconv.ParseInt(f[3], 10, 64)
		if err1 == nil && err2 == nil && count > 0 {
			ranges = append(ranges, user.SubID{Name: f[1], SubID: start, Count: count})
		}
	}
	return ranges
}

func (o *ordinary) readKernel() {
	for _, name := range []string{sysctlClone, sysctlMax, sysctlApparmor} {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		if data, err := os.ReadFile(path); err == nil {
			o.sysctls[name] = string(bytes.TrimSpace(data))
		}
	}
	status, _ := os.ReadFile("/proc/self/status") // without /proc nothing here works
	o.noNewPrivs = bytes.Contains(status, []byte("\nNoNewPrivs:\t1\n"))
	o.filtered = bytes.Contains(status, []byte("\nSeccomp:\t2\n"))
}

// maps returns the ids of the engine's user namespace, or an *UnfitError for what
// is known to be in the way. What only a try tells is told by [ordinary.refused].
func (o ordinary) maps() (*idMaps, error) {
	for _, check := range []func() *buildkit.UnfitError{o.checkKernel, o.checkHelpers, o.checkRanges} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	m := newIDMaps(o.uid, o.gid, o.subuid, o.subgid)
	m.NewUIDMap, m.NewGIDMap = o.newuidmap, o.newgidmap
	return m, nil
}

// orRoot ends every remedy: nothing here keeps root from building.
const orRoot = "; or run sx as root"

func (o ordinary) checkKernel() *buildkit.UnfitError {
	for _, s := range []struct{ name, bad, good string }{{sysctlClone, "0", "1"}, {sysctlMax, "0", "28633"}} {
		if o.sysctls[s.name] == s.bad {
			return &buildkit.UnfitError{
				Problem: fmt.Sprintf("the kernel lets only root make user namespaces (%s is %s)", s.name, s.bad),
				Remedy:  fmt.Sprintf("allow it: echo %s=%s | sudo tee /etc/sysctl.d/99-sx.conf && sudo sysctl --system", s.name, s.good) + orRoot,
			}
		}
	}
	if o.noNewPrivs {
		return &buildkit.UnfitError{
			Problem: "no_new_privs is set here, so newuidmap cannot map ids",
			Remedy:  "start the container without no-new-privileges (Kubernetes: allowPrivilegeEscalation: true), the service without NoNewPrivileges=" + orRoot,
		}
	}
	return nil
}

func (o ordinary) checkHelpers() *buildkit.UnfitError {
	for _, h := range []struct{ name, path string }{{"newuidmap", o.newuidmap}, {"newgidmap", o.newgidmap}} {
		if h.path == "" {
			return &buildkit.UnfitError{
				Problem: fmt.Sprintf("there is no %q in PATH, which lets an ordinary user build", h.name),
				Remedy:  "install it (Debian, Ubuntu: sudo apt-get install uidmap; Fedora: sudo dnf install shadow-utils; Alpine: apk add shadow-uidmap)" + orRoot,
			}
		}
		if slices.Contains(o.plain, h.path) {
			return &buildkit.UnfitError{
				Problem: fmt.Sprintf("%s is not set-uid root, so it cannot map ids", h.path),
				Remedy:  fmt.Sprintf("install it again, or sudo chmod u+s %s", h.path) + orRoot,
			}
		}
	}
	return nil
}

func (o ordinary) checkRanges() *buildkit.UnfitError {
	var lacking []string
	for _, r := range []struct {
		file string
		have []user.SubID
	}{{subuidFile, o.subuid}, {subgidFile, o.subgid}} {
		if n := countIDs(r.have); n < minIDs {
			lacking = append(lacking, r.file)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	uids, gids := countIDs(o.subuid), countIDs(o.subgid)
	return &buildkit.UnfitError{
		Problem: fmt.Sprintf("a build needs %d user and group ids besides yours, but %s gives %s %d and %s %d", minIDs, subuidFile, o.name, uids, subgidFile, gids),
		Remedy:  fmt.Sprintf("give some: echo %s:%d:65536 | sudo tee -a %s", o.name, o.freeIDs(), strings.Join(lacking, " ")) + orRoot,
	}
}

// freeIDs returns the first id of a range that no user has.
func (o ordinary) freeIDs() int64 {
	free := int64(100000)
	for _, r := range o.allIDs {
		free = max(free, r.SubID+r.Count)
	}
	return free
}

// refused explains why what an ordinary user may do elsewhere is forbidden here.
// doing is the step that failed with err.
func (o ordinary) refused(doing string, err error) error {
	problem := fmt.Sprintf("%s was refused (%v)", doing, err)
	var ids *idMapError
	switch {
	case o.sysctls[sysctlApparmor] == "1" && isForbidden(err):
		return &buildkit.UnfitError{
			Problem: fmt.Sprintf("AppArmor lets no ordinary program use user namespaces (%s is 1, as on Ubuntu since 23.10): %s", sysctlApparmor, problem),
			Remedy:  apparmorRemedy(o.exe) + orRoot,
		}
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		// Not in the kernel's words, which are those of a full disk.
		return &buildkit.UnfitError{Problem: doing + fmt.Sprintf(" was refused: there are too many (%s is %s), or this would be nested too deep", sysctlMax, o.sysctls[sysctlMax]),
			Remedy: fmt.Sprintf("raise the limit: sudo sysctl -w %s=28633", sysctlMax) + orRoot}
	case errors.Is(err, unix.EINVAL):
		return &buildkit.UnfitError{Problem: problem + ": this kernel may lack user namespaces (CONFIG_USER_NS)", Remedy: "use another kernel" + orRoot}
	case isForbidden(err) && errors.Is(err, errProc):
		return &buildkit.UnfitError{Problem: problem + ": parts of /proc are hidden here, as in a container", Remedy: containerRemedy + orRoot}
	case isForbidden(err) && o.filtered:
		return &buildkit.UnfitError{Problem: problem + ": this looks like a container, whose filter forbids it", Remedy: containerRemedy}
	case isForbidden(err):
		return &buildkit.UnfitError{Problem: problem, Remedy: "find what forbids it (journalctl -k, a security module); in a container, " + containerRemedy + orRoot}
	case errors.As(err, &ids) && strings.Contains(ids.said, "owned by a different user"):
		return &buildkit.UnfitError{Problem: problem + ": the shell's group is not the one that you log in with", Remedy: "leave newgrp or sg" + orRoot}
	case errors.As(err, &ids):
		return &buildkit.UnfitError{Problem: problem, Remedy: fmt.Sprintf("mend what it says; it reads %s and %s", subuidFile, subgidFile) + orRoot}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// errProc marks that a /proc could not be mounted. The kernel lets no user
// namespace see more of it than the one outside does.
var errProc = errors.New("mounting /proc")

const containerRemedy = "start it with --privileged, or with --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined (podman: --security-opt unmask=ALL)"

func isForbidden(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// plainPath is a path that needs no quoting, for AppArmor or for a shell.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+-]+$`)

// apparmorRemedy is a profile for this one program, as a line to paste.
func apparmorRemedy(exe string) string {
	if !plainPath.MatchString(exe) {
		return fmt.Sprintf("move sx from %q to a plain path, such as /usr/local/bin/sx, and run it again for the profile that it needs there", exe)
	}
	return fmt.Sprintf(`give sx a profile: printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile sx %s flags=(unconfined) {\n  userns,\n}\n' | sudo tee /etc/apparmor.d/sx && sudo apparmor_parser -r /etc/apparmor.d/sx`, exe)
}
