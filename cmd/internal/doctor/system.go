package doctor

import (
	"context"
	"io/fs"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// settings has the line about stagex.toml and SX_*.
func (m Machine) settings(context.Context) []Line {
	const name = "settings"
	switch {
	case m.Wrong != nil:
		return []Line{stop(name, "correct that line; stagex.toml of sx's repository explains each key", "%s", strings.ReplaceAll(m.Wrong.Error(), "\n", "; "))}
	case len(m.Unknown) > 0:
		return []Line{limit(name, "unset it, or correct its name", "%s", strings.Join(m.Unknown, "; "))}
	}
	return []Line{ok(name, "can be read")}
}

// tree has the lines about the checkout.
func (m Machine) tree(context.Context) []Line {
	const name = "tree"
	if m.Tree == "" {
		return []Line{limit(name, "git clone https://codeberg.org/stagex/stagex, and run sx in it", "%v", m.NoTree)}
	}
	lines := []Line{ok(name, "%s", m.Tree)}
	if err := m.Store(); err != nil {
		lines = append(lines, stopped("state", "make the folder yours and writable, or set paths.state (sx's files) or XDG_STATE_HOME (its key)", err))
	} else {
		lines = append(lines, ok("state", "%s", m.State))
	}
	if err := m.History(); err != nil {
		return append(lines, limit("history", "git fetch --unshallow in a shallow clone; else clone the tree with git",
			"%v: nothing can be called CHANGED, and --preseed pulls nothing", err))
	}
	return append(lines, ok("history", "reaches the commit that published digests/"))
}

func (m Machine) system(context.Context) []Line {
	return []Line{ok("system", "%s", m.System), m.clock()}
}

// clockSlack is how far the clock may lie before the time at which sx was built, which
// another machine's clock gave.
const clockSlack = 24 * time.Hour

// clock judges the clock without asking anybody.
func (m Machine) clock() Line {
	now := m.Now()
	if now.Before(m.Built.Add(-clockSlack)) {
		return stop("clock", setClock, "it says %s, but this sx was built on %s: no certificate can be checked", now.UTC().Format(time.DateOnly), m.Built.UTC().Format(time.DateOnly))
	}
	return ok("clock", "%s", now.UTC().Format("2006-01-02 15:04:05 UTC"))
}

const setClock = "set it: sudo timedatectl set-ntp true, or sudo date -s 'YYYY-MM-DD HH:MM:SS'"

// cgroups has the line about what bounds and measures a RUN.
func (m Machine) cgroups() Line {
	const name = "cgroups"
	exists := func(path string) bool {
		_, err := fs.Stat(m.Files, path)
		return err == nil
	}
	switch {
	case !m.Root:
		return ok(name, "not used by an ordinary user's engine")
	case exists("sys/fs/cgroup/cgroup.controllers"):
		return ok(name, "version 2")
	case exists("sys/fs/cgroup/memory"):
		return limit(name, "boot with systemd.unified_cgroup_hierarchy=1", "version 1: a RUN sees the host's cgroups")
	}
	return limit(name, "mount -t cgroup2 none /sys/fs/cgroup", "none are mounted, so the memory of builds is not measured")
}

// littleMemory is what one large build of StageX (llvm, rust) needs.
const littleMemory = 4 << 30

// memory has the line about memory and how many builds it is enough for.
func (m Machine) memory(context.Context) []Line {
	const name = "memory"
	b := m.Settings.Build
	if m.Memory < littleMemory {
		return []Line{limit(name, "add memory or swap; a build that runs out of it ends with \"Killed\"", "%s, less than large builds need (%s)",
			text.Bytes(m.Memory), text.Bytes(littleMemory))}
	}
	return []Line{ok(name, "%s; at most %d builds at once, which may need %s together", text.Bytes(m.Memory), b.Jobs, text.Bytes(b.Memory))}
}
