package doctor

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/settings"
)

var now = time.Date(2026, 11, 30, 4, 0, 0, 0, time.UTC)

// healthy is a machine on which nothing is missing.
func healthy() Machine {
	m := Machine{
		System: "Linux 6.12.1, x86_64", Root: true, Files: fstest.MapFS{"sys/fs/cgroup/cgroup.controllers": {}},
		Getenv: func(string) string { return "" }, Now: func() time.Time { return now }, Built: now.Add(-time.Hour),
		Settings: settings.Default(), Memory: 16 << 30,
		Tree: "/stagex", State: "/stagex/.sx",
		History: func() error { return nil }, Store: func() error { return nil },
		Free:  func(string) (Free, error) { return Free{500 << 30, 1000}, nil },
		Link:  func(string) (Links, error) { return Links{true, true}, nil },
		Dial:  func(context.Context, string) error { return nil },
		Reach: func(context.Context, string) (time.Time, error) { return now, nil },
		Login: func(context.Context, string) (string, []string) { return "", nil },
		GPG:   func(context.Context) (string, error) { return "gpg (GnuPG) 2.2.40", nil },
	}
	m.Engine = Engine{
		Name: "the embedded engine", Embedded: true,
		Needs: func() []buildkit.Need { return []buildkit.Need{{Name: "runc", Found: "1.1.15 at /usr/sbin/runc"}} },
		Try: func(context.Context) (Trial, error) {
			return Trial{BuildKit: "v0.34.2", Snapshotter: buildkit.Overlayfs, Probe: buildkit.ProbeDigest, Runs: seedPlatforms()}, nil
		},
	}
	return m
}

func examine(t *testing.T, m Machine) (lines []Line) {
	t.Helper()
	if err := Examine(t.Context(), m, func(l Line) { lines = append(lines, l) }); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestHealthy(t *testing.T) {
	lines := examine(t, healthy())
	var names []string
	for _, l := range lines {
		names = append(names, l.Name)
		if l.State != OK || l.Remedy != "" {
			t.Errorf("%+v", l)
		}
	}
	want := "settings tree state history system clock runc cgroups engine layers bytes programs disk hard links memory proxies registries credentials gpg"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the lines are\n%s, want\n%s", got, want)
	}
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func shows(t Trial, err error) func(context.Context) (Trial, error) {
	return func(context.Context) (Trial, error) { return t, err }
}

// worked returns what a good engine shows, but for what change does.
func worked(change func(*Trial)) Trial {
	t := Trial{BuildKit: "v0.34.2", Snapshotter: buildkit.Overlayfs, Probe: buildkit.ProbeDigest, Runs: []string{"linux/amd64"}}
	change(&t)
	return t
}

// Each thing that can be missing changes one line, which says what to do.
func TestEachLine(t *testing.T) {
	unfit := &buildkit.UnfitError{Problem: "there is no runc", Remedy: "apt-get install runc"}
	failed := errors.New("it does not work")
	for name, c := range map[string]struct {
		sick         func(*Machine)
		line         string
		state        State
		says, remedy string // parts of Found and Remedy
	}{
		"settings":        {func(m *Machine) { m.Wrong = errors.New("stagex.toml:3: no") }, "settings", Stop, "stagex.toml:3", "correct that line"},
		"unknown setting": {func(m *Machine) { m.Unknown = []string{"SX_JOB is no setting"} }, "settings", Limit, "SX_JOB", "unset"},
		"no tree":         {func(m *Machine) { m.Tree, m.NoTree = "", errors.New("no StageX tree") }, "tree", Limit, "no StageX tree", "git clone"},
		"state":           {func(m *Machine) { m.Store = func() error { return failed } }, "state", Stop, "does not work", "paths.state"},
		"history":         {func(m *Machine) { m.History = func() error { return failed } }, "history", Limit, "CHANGED", "--unshallow"},
		"clock":           {func(m *Machine) { m.Now = func() time.Time { return time.Unix(0, 0) } }, "clock", Stop, "it says 1970-01-01", "date -s"},
		"needs":           {func(m *Machine) { m.Engine.Needs = needs(unfit) }, "runc", Stop, "there is no runc", "apt-get install runc"},
		"unknown need":    {func(m *Machine) { m.Engine.Needs = needs(failed) }, "runc", Stop, "does not work", ""},
		"not tried":       {func(m *Machine) { m.Engine.Needs = needs(unfit) }, "engine", Limit, "not tried", "run sx doctor again"},
		"old cgroups":     {func(m *Machine) { m.Files = fstest.MapFS{"sys/fs/cgroup/memory/tasks": {}} }, "cgroups", Limit, "version 1", "unified"},
		"no cgroups":      {func(m *Machine) { m.Files = fstest.MapFS{} }, "cgroups", Limit, "none", "mount"},
		"engine":          {func(m *Machine) { m.Engine.Try = shows(Trial{}, failed) }, "engine", Stop, "does not work", "sx engine logs"},
		"unfit engine":    {func(m *Machine) { m.Engine.Try = shows(Trial{}, unfit) }, "engine", Stop, "there is no runc", "apt-get"},
		"engine elsewhere": {func(m *Machine) {
			m.Engine = Engine{Name: "ssh://x", Try: shows(Trial{}, &buildkit.EngineError{Engine: "ssh://x", Problem: "nothing listens there", Remedy: "start it"})}
		}, "engine", Stop, "nothing listens there", "start it"},
		"idle engine": {func(m *Machine) {
			m.Engine = Engine{Name: "podman", Try: shows(Trial{Idle: "the first build starts it"}, nil)}
		}, "engine", Limit, "was not tried", "build something"},
		"layers": {func(m *Machine) { m.Engine.Try = shows(worked(func(t *Trial) { t.Snapshotter = "native" }), nil) }, "layers", Limit, `"native"`, "overlayfs"},
		"bytes":  {func(m *Machine) { m.Engine.Try = shows(worked(func(t *Trial) { t.Probe = "sha256:00" }), nil) }, "bytes", Limit, "does not produce StageX's bytes", "BuildKit 0.26"},
		"programs": {func(m *Machine) {
			m.Engine.Try = shows(worked(func(t *Trial) { t.Fails = map[string]error{"linux/amd64": unfit} }), nil)
		}, "programs", Stop, "no runc", "apt-get"},
		"disk":       {func(m *Machine) { m.Free = space(1<<30, 9) }, "disk", Stop, "less than 2GiB", "sx gc"},
		"small disk": {func(m *Machine) { m.Free = space(9<<30, 9) }, "disk", Limit, "some outputs", "sx gc"},
		"inodes":     {func(m *Machine) { m.Free = space(500<<30, 0) }, "disk", Stop, "inodes", "sx gc"},
		"links":      {func(m *Machine) { m.Link = linked(Links{false, true}, nil) }, "hard links", Limit, "copied", "ext4"},
		"exchange":   {func(m *Machine) { m.Link = linked(Links{true, false}, nil) }, "hard links", Limit, "swapped", "ext4"},
		"full":       {func(m *Machine) { m.Link = linked(Links{}, failed) }, "hard links", Stop, "nothing can be written", "writable"},
		"full disk":  {func(m *Machine) { m.Link = linked(Links{}, syscall.ENOSPC) }, "hard links", Stop, "no space left", `the line "disk"`},
		"full state": {func(m *Machine) { m.Store = func() error { return syscall.ENOSPC } }, "state", Stop, "no space left", `the line "disk"`},
		"memory":     {func(m *Machine) { m.Memory = 1 << 30 }, "memory", Limit, "less than", "swap"},
		"bad proxy":  {func(m *Machine) { m.Getenv = env("https_proxy", "http://[::1") }, "proxies", Stop, "https_proxy is not the address", "unset https_proxy"},
		"dead proxy": {func(m *Machine) { m.Getenv, m.Dial = env("HTTPS_PROXY", "http://u:secret@p:3128"), dialing(failed) }, "proxies", Stop, "HTTPS_PROXY is http://u:xxxxx@p:3128, which cannot be reached", "unset"},
		"ALL_PROXY":  {func(m *Machine) { m.Getenv = env("ALL_PROXY", "socks5://p") }, "proxies", Limit, "does not read", "HTTPS_PROXY"},
		"registries": {func(m *Machine) { m.Reach = func(context.Context, string) (time.Time, error) { return now, failed } }, "registries", Limit, "does not work", "network"},
		"clock skew": {func(m *Machine) {
			m.Reach = func(context.Context, string) (time.Time, error) { return now.Add(2 * time.Hour), nil }
		}, "clock", Limit, "2h0m0s behind that of docker.io", "date -s"},
		"credentials": {func(m *Machine) {
			m.Login = func(context.Context, string) (string, []string) { return "", []string{"config.json is broken"} }
		}, "credentials", Limit, "config.json is broken", "docker login"},
		"gpg": {func(m *Machine) { m.GPG = func(context.Context) (string, error) { return "", failed } }, "gpg", Limit, "sx sign", "gnupg"},
	} {
		t.Run(name, func(t *testing.T) {
			m := healthy()
			c.sick(&m)
			var found *Line
			for _, l := range examine(t, m) {
				if l.Name == c.line && l.State != OK {
					found = &l
				}
			}
			if found == nil {
				t.Fatalf("no line %q says so", c.line)
			}
			if found.State != c.state || !strings.Contains(found.Found, c.says) || !strings.Contains(found.Remedy, c.remedy) {
				t.Errorf("%+v, want %s, %q and %q", found, c.state, c.says, c.remedy)
			}
		})
	}
}

func needs(err error) func() []buildkit.Need {
	return func() []buildkit.Need { return []buildkit.Need{{Name: "runc", Err: err}} }
}

func space(bytes, files int64) func(string) (Free, error) {
	return func(string) (Free, error) { return Free{bytes, files}, nil }
}

func linked(l Links, err error) func(string) (Links, error) {
	return func(string) (Links, error) { return l, err }
}

func dialing(err error) func(context.Context, string) error {
	return func(context.Context, string) error { return err }
}

// An engine elsewhere needs nothing of this machine, and one that misses something is not
// tried.
func TestEngineElsewhere(t *testing.T) {
	m := healthy()
	m.Engine.Embedded, m.Engine.Needs = false, nil
	for _, l := range examine(t, m) {
		if l.Name == "runc" || l.Name == "cgroups" || l.State != OK {
			t.Errorf("%+v", l)
		}
	}
	m = healthy()
	m.Engine.Needs = needs(errors.New("no"))
	m.Engine.Try = func(context.Context) (Trial, error) { t.Error("it was tried"); return Trial{}, nil }
	examine(t, m)
}

// With Offline no server is asked.
func TestOffline(t *testing.T) {
	m := healthy()
	m.Offline, m.Getenv = true, env("HTTPS_PROXY", "proxy:3128")
	m.Dial = func(context.Context, string) error { t.Error("a proxy was asked"); return nil }
	m.Reach = func(context.Context, string) (time.Time, error) { t.Error("a registry was asked"); return now, nil }
	if n := Stops(examine(t, m)); n > 0 {
		t.Errorf("%d stops", n)
	}
}

// A registry that never answers is given up when the context ends.
func TestCancelled(t *testing.T) {
	m := healthy()
	ctx, cancel := context.WithCancelCause(t.Context())
	m.Reach = func(ctx context.Context, _ string) (time.Time, error) {
		cancel(io.EOF)
		<-ctx.Done()
		return now, context.Cause(ctx)
	}
	if err := Examine(ctx, m, func(Line) {}); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	for _, l := range []Line{{"disk", OK, "500 GB free", ""}, {"proxies", Stop, "bad\x1b[2J", "unset it"}} {
		l.Print(&b, func(s State) string { return string(s) })
	}
	want := "ok     disk          500 GB free\nstop   proxies       bad\\x1b[2J\n                      -> unset it\n"
	if b.String() != want {
		t.Errorf("got\n%s, want\n%s", b.String(), want)
	}
}

// What this machine says of itself can be had.
func TestThis(t *testing.T) {
	m := This()
	dir := t.TempDir()
	f, err := m.Free(dir + "/not/there")
	if err != nil || f.Bytes <= 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if l, err := m.Link(dir); err != nil || !l.Hard {
		t.Errorf("%+v, %v", l, err)
	}
	if !strings.Contains(m.System, " ") {
		t.Errorf("%q", m.System)
	}
}
