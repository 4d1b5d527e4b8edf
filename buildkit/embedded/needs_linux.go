package embedded

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// Needs checks what [Engine.Connect] needs of this machine, and goes on after what is
// missing. Whether the kernel allows what it seems to allow, only a build tells.
func (e *Engine) Needs() []buildkit.Need {
	m, err := thisMachine()
	if errors.Is(err, fs.ErrNotExist) {
		err = &buildkit.UnfitError{Problem: fmt.Sprintf("/proc is not mounted (%v)", err), Remedy: "mount it: mount -t proc proc /proc"}
	}
	if err != nil {
		return []buildkit.Need{{Name: "rights", Err: err}}
	}
	needs := []buildkit.Need{
		{Name: "rights", Found: m.rights(), Err: cmp.Or(m.checkRights(), m.checkIDs())},
		{Name: "open files", Found: fmt.Sprintf("up to %d", m.nofile), Err: m.checkFiles()},
	}
	if m.nofile == unix.RLIM_INFINITY {
		needs[1].Found = "no limit"
	}
	if m.root {
		needs = append(needs, buildkit.Need{Name: "namespaces", Found: "root makes them"})
	} else {
		needs = append(needs, userNeeds()...)
	}
	return append(needs, m.runcNeed(e.Runc))
}

func (m machine) rights() string {
	switch {
	case m.root && m.userns:
		return "root of a user namespace"
	case m.root:
		return "root"
	}
	return "an ordinary user, whose engine is root of a user namespace"
}

// userNeeds are those of an ordinary user.
func userNeeds() []buildkit.Need {
	o, err := thisUser()
	if err != nil {
		return []buildkit.Need{{Name: "namespaces", Err: err}}
	}
	return []buildkit.Need{
		need("namespaces", o.namespaces(), o.checkKernel()),
		need("id maps", o.newuidmap, o.checkHelpers()),
		need("subuid", fmt.Sprintf("%d user and %d group ids for %s", countIDs(o.subuid), countIDs(o.subgid), o.name), o.checkRanges()),
		need("AppArmor", o.apparmor(), nil),
	}
}

// need keeps a nil *UnfitError from becoming an error.
func need(name, found string, unfit *buildkit.UnfitError) buildkit.Need {
	n := buildkit.Need{Name: name, Found: found}
	if unfit != nil {
		n.Err = unfit
	}
	return n
}

func (o ordinary) namespaces() string {
	if most := o.sysctls[sysctlMax]; most != "" {
		return fmt.Sprintf("users may make them (%s is %s)", sysctlMax, most)
	}
	return "users may make them"
}

// apparmor describes the only rule of AppArmor that can be in the way. A build tells
// whether it is, because a profile may allow this program what others may not.
func (o ordinary) apparmor() string {
	if o.sysctls[sysctlApparmor] != "1" {
		return "does not restrict user namespaces"
	}
	profile, err := os.ReadFile("/proc/self/attr/current")
	if name := string(bytes.Trim(profile, "\x00\n")); err == nil && name != "" && name != "unconfined" {
		return "restricts user namespaces; the profile of sx is " + name
	}
	return "restricts user namespaces, and sx has no profile"
}

func (m machine) runcNeed(path string) buildkit.Need {
	found, err := m.findRunc(path, RuncInside() != "")
	n := buildkit.Need{Name: "runc", Found: found, Err: err}
	switch {
	case err != nil:
		return n
	case found == runcIsInside:
		n.Found = RuncInside() + " " + runcIsInside
	default:
		if out, err := ask(found, "--version"); err == nil { // "runc version 1.1.15\n…"
			line, _, _ := strings.Cut(string(out), "\n")
			n.Found = strings.TrimPrefix(line, "runc version ") + " at " + found
		}
	}
	if m.seccomp {
		n.Found += ", with seccomp"
	} else {
		n.Found += "; this kernel has no seccomp"
	}
	return n
}
