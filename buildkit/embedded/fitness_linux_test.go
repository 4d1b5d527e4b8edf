package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// fit is a machine that can build.
var fit = machine{
	root: true, nofile: 1 << 20, seccomp: true, ids: 1<<32 - 1,
	caps: 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_RESOURCE,
}

// wantUnfit checks that err tells problem and remedy in one line.
func wantUnfit(t *testing.T, err error, problem, remedy string) {
	t.Helper()
	var unfit *buildkit.UnfitError
	if !errors.As(err, &unfit) {
		t.Errorf("got %v, want an *UnfitError about %q", err, problem)
		return
	}
	if !strings.Contains(unfit.Problem, problem) || !strings.Contains(unfit.Remedy, remedy) {
		t.Errorf("got %v, want problem %q and remedy %q", err, problem, remedy)
	}
	if m := err.Error(); strings.ContainsAny(m, "\n") || !strings.HasPrefix(m, "this machine cannot build: ") {
		t.Errorf("not one clear message: %q", m)
	}
}

func TestMachine(t *testing.T) {
	if err := fit.check(); err != nil {
		t.Errorf("a fit machine: %v", err)
	}
	container := fit
	container.caps = 1 << unix.CAP_CHOWN
	wantUnfit(t, container.check(), "CAP_SYS_ADMIN", "--privileged")
	few := fit
	few.ids = 1
	wantUnfit(t, few.check(), "a user namespace that has 1 users or groups", "outside of it")
	few.root, few.ids = false, 0
	wantUnfit(t, few.check(), "a user namespace that has 0 users or groups", "outside of it")
	low := fit
	low.nofile = 4096
	if err := low.check(); err != nil {
		t.Errorf("a low limit that CAP_SYS_RESOURCE can raise: %v", err)
	}
	low.caps = 1 << unix.CAP_SYS_ADMIN
	wantUnfit(t, low.check(), "open files is 4096", "ulimit -Hn 16384")
	low.userns, low.caps = true, fit.caps
	wantUnfit(t, low.check(), "open files is 4096", "limits.conf")
	low.nofile = nofileHard
	if err := low.check(); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
}

func TestThisMachine(t *testing.T) {
	m, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	if m.root != (os.Geteuid() == 0) || m.nofile == 0 {
		t.Errorf("this machine: %+v", m)
	}
}

const (
	realRunc  = `{"annotations":{"org.opencontainers.runc.version":"1.1.5"},"linux":{"seccomp":{"enabled":true}}}`
	plainRunc = `{"annotations":{"org.opencontainers.runc.version":"1.1.5"},"linux":{"seccomp":{"enabled":false}}}`
	crun      = `{"annotations":{"run.oci.crun.version":"1.16"},"linux":{"seccomp":{"enabled":true}}}`
)

// fakeRunc is a program that answers `features`.
func fakeRunc(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runc")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func runcWith(t *testing.T, features string) string {
	t.Helper()
	return fakeRunc(t, `[ "$*" = features ] && echo '`+features+`'`)
}

// noSbin hides the machine's own runc.
func noSbin(t *testing.T) {
	t.Helper()
	was := sbin
	sbin = nil
	t.Cleanup(func() { sbin = was })
}

func TestFindRunc(t *testing.T) {
	noSbin(t)
	good := runcWith(t, realRunc)
	if got, err := fit.findRunc(good, false); got != good || err != nil {
		t.Errorf("findRunc: %q, %v", got, err)
	}
	t.Setenv("PATH", filepath.Dir(good)+":/usr/bin:/bin")
	if got, err := fit.findRunc("", false); got != good || err != nil {
		t.Errorf("findRunc by PATH: %q, %v", got, err)
	}
	t.Setenv("PATH", t.TempDir())
	sbin = []string{"/nowhere", filepath.Dir(good)}
	if got, err := fit.findRunc("", false); got != good || err != nil {
		t.Errorf("findRunc in sbin: %q, %v", got, err)
	}
	sbin = nil
	_, err := fit.findRunc("", false)
	wantUnfit(t, err, `there is no "runc"`, "apt-get install runc")
	_, err = fit.findRunc("/nowhere/runc", false)
	wantUnfit(t, err, `"/nowhere/runc"`, "engine.runc")
}

// What somebody named is used or refused; what lies in PATH gives way to the runc
// inside sx where it will not do.
func TestRuncInside(t *testing.T) {
	noSbin(t)
	good, bad := runcWith(t, realRunc), runcWith(t, crun)
	t.Setenv("PATH", filepath.Dir(good)+":/usr/bin:/bin")
	if got, err := fit.findRunc("", true); got != good || err != nil {
		t.Errorf("with a good one in PATH: %q, %v", got, err)
	}
	if _, err := fit.findRunc(bad, true); err == nil {
		t.Error("a named one that will not do was passed over")
	}
	for _, path := range []string{filepath.Dir(bad) + ":/usr/bin:/bin", t.TempDir()} {
		t.Setenv("PATH", path)
		if got, err := fit.findRunc("", true); got != runcIsInside || err != nil {
			t.Errorf("with PATH %s: %q, %v", path, got, err)
		}
	}
}

func TestWriteRunc(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	archive := e.EncodeAll([]byte("#!/bin/sh\necho '"+realRunc+"'\n"), nil)
	path := filepath.Join(t.TempDir(), "runc")
	if err := writeRunc(archive, path); err != nil {
		t.Fatal(err)
	}
	if got, err := fit.findRunc(path, false); got != path || err != nil {
		t.Errorf("what was unpacked: %q, %v", got, err)
	}
	if err := writeRunc(archive[:len(archive)-3], path+".cut"); err == nil {
		t.Error("a damaged archive was unpacked")
	}
}

func TestUnfitRunc(t *testing.T) {
	for _, tt := range []struct{ script, problem, remedy string }{
		{"exit 1", "does not know `features`", "1.1 or newer"},
		{"echo nonsense", "cannot be used", "1.1 or newer"},
		{"echo '" + crun + "'", "is not runc", "1.1 or newer"},
		{"echo '" + plainRunc + "'", "without seccomp", "Debian"},
	} {
		_, err := fit.findRunc(fakeRunc(t, tt.script), false)
		wantUnfit(t, err, tt.problem, tt.remedy)
	}
	plain := runcWith(t, plainRunc)
	without := fit
	without.seccomp = false
	if _, err := without.findRunc(plain, false); err != nil {
		t.Errorf("neither kernel nor runc know seccomp: %v", err)
	}
}

func TestCheckPlatforms(t *testing.T) {
	have := []string{"linux/amd64", "linux/386"}
	if err := buildkit.CheckPlatforms(have, []string{"linux/386", "linux/x86_64"}); err != nil {
		t.Error(err)
	}
	wantUnfit(t, buildkit.CheckPlatforms(have[:1], []string{"linux/amd64", "linux/386"}), "not of linux/386", "CONFIG_IA32_EMULATION")
	wantUnfit(t, buildkit.CheckPlatforms(have, []string{"linux/arm64"}), "of linux/amd64, linux/386, not of linux/arm64", "qemu-user-static")
	if err := buildkit.CheckPlatforms(have, []string{"a/b/c/d"}); err == nil || !strings.Contains(err.Error(), `"a/b/c/d"`) {
		t.Errorf("a platform that is none: %v", err)
	}
}

func TestBuildID(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	id, err := buildID(exe)
	if err != nil || len(id) != 16 || id != BuildID() {
		t.Errorf("build id %q, %v; BuildID %q", id, err, BuildID())
	}
	for _, path := range []string{"/nowhere", "fitness_linux_test.go"} {
		if _, err := buildID(path); err == nil {
			t.Errorf("%s has a build id", path)
		}
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
