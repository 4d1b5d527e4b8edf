package enginetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sixteen lists the outputs of the example tree that every engine must build.
const sixteen = "16 outputs: 16 MATCH"

func buildExamples(t *testing.T, tree *Tree) {
	t.Helper()
	if out := tree.Sx("build", "--all"); !strings.Contains(out, sixteen) {
		t.Fatalf("not all match:\n%s", out)
	}
}

func TestSnapshotters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"overlayfs", "native"} {
		t.Run(name, func(t *testing.T) {
			tree := Examples(t, programs, "")
			tree.Env = append(tree.Env, "SX_ENGINE_SNAPSHOTTER="+name)
			buildExamples(t, tree)
			tree.wantSnapshotter(name)
		})
	}
}

// Overlayfs does not work on overlayfs: there the engine uses the native
// snapshotter.
func TestTreeOnOverlay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(dir, "merged")
	options := "lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a dead engine's mounts are gone a little after it
		Until(t, 10*time.Second, "nothing uses the overlay", func() bool { return unix.Unmount(merged, 0) == nil })
	})
	tree := Examples(t, programs, filepath.Join(merged, "tree"))
	buildExamples(t, tree)
	tree.wantSnapshotter("native")
}

func (t *Tree) wantSnapshotter(name string) {
	t.t.Helper()
	for _, n := range []string{"overlayfs", "native"} {
		_, err := os.Stat(t.Path(".sx/engine/state", n))
		if (err == nil) != (n == name) {
			t.t.Errorf("state of the snapshotter %s: %v, want that of %s only", n, err, name)
		}
	}
}

// The path of a socket may have 107 bytes; that of a tree may be longer, and may
// have characters with a meaning in PATH, mount options and JSON.
func TestOddPlaces(t *testing.T) {
	t.Parallel()
	for _, place := range []string{strings.Repeat("a-very-deep-folder/", 20), "a:b", "a,b=c", "a \"b\\ü"} {
		t.Run(place[:3], func(t *testing.T) {
			tree := Examples(t, programs, filepath.Join(t.TempDir(), place, "tree"))
			tree.Sx("build", "core-names", "user-true")
		})
	}
}

// The engine finds its runc and xz, and no program that BuildKit would use instead
// of its own gzip.
func TestEnginePath(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	tree.Sx("build", "core-names")
	entries, err := os.ReadDir(tree.enginePath())
	tree.must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "runc xz" {
		t.Errorf("the engine's PATH holds %q", got)
	}
}

// enginePath returns the one folder in the running engine's PATH, as the engine sees
// it.
func (t *Tree) enginePath() string {
	t.t.Helper()
	pids := t.Engines()
	if len(pids) != 1 {
		t.t.Fatalf("engines %v, want one", pids)
	}
	return fmt.Sprintf("/proc/%d/root%s", pids[0], variable(t.t, pids[0], "PATH"))
}

// variable returns a variable of a process's environment.
func variable(t testing.TB, pid int, name string) string {
	t.Helper()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for v := range strings.SplitSeq(string(env), "\x00") {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	t.Fatalf("process %d has no variable %s", pid, name)
	return ""
}

// BuildKit's temporary mount points are visible to the engine only: a killed engine
// would leave them.
func TestEngineTemp(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	tree.Sx("build", "bootstrap-seed")
	pid := tree.Engines()[0]
	dir := variable(t, pid, "TMPDIR")
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", pid, dir)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is everyone's", dir)
	}
}

// sx itself unpacks archives, whatever xz the host has, with every filter that it
// knows; an unknown filter ends the build before it begins.
func TestXZFilters(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", "")
	var sources, add strings.Builder
	for _, filter := range []string{"lzma2", "x86", "powerpc", "ia64", "arm", "armthumb", "sparc", "delta"} {
		sources.WriteString(tree.Source("core/x", filter+".tar.xz", tree.tarXZ(filter)))
		fmt.Fprintf(&add, "ADD fetch/%s.tar.xz /%s/\n", filter, filter)
	}
	tree.Write("packages/core/x/package.toml", []byte("[package]\nname = \"x\"\nversion = \"1\"\n"+sources.String()))
	tree.Write("packages/core/x/Containerfile", []byte("FROM scratch AS a\n"+add.String()+
		"FROM scratch\nCOPY --from=a /lzma2/code /x86/code /powerpc/code /ia64/code /arm/code /armthumb/code /sparc/code /delta/code /\n"))
	hidden := `for xz in /usr/bin/xz /bin/xz /usr/local/bin/xz; do
		[ ! -e $xz ] || mount --bind /dev/null $xz
	done
	exec ` + programs.Sx() + ` build core-x`
	tree.StartWith("unshare", "--mount", "sh", "-ec", hidden).Want(0)
	to, err := os.Readlink(filepath.Join(tree.enginePath(), "xz"))
	if err != nil || to != "/proc/self/exe" {
		t.Errorf("xz is %q, %v, want sx itself", to, err)
	}
	toml := "[package]\nname = \"y\"\n" + tree.Source("core/y", "y.tar.xz", tree.tarXZ("arm64"))
	tree.Write("packages/core/y/package.toml", []byte(toml))
	tree.Write("packages/core/y/Containerfile", []byte("FROM scratch\nADD fetch/y.tar.xz /\n"))
	r := tree.Start("build", "core-y").Want(6)
	if log := r.Stderr.String(); !strings.Contains(log, "fetch/y.tar.xz is compressed with the filter arm64") {
		t.Errorf("the filter is not named:\n%s", log)
	}
}

// tarXZ returns an archive of a file "code" with machine code, compressed with one
// filter.
func (t *Tree) tarXZ(filter string) []byte {
	t.t.Helper()
	dir := t.t.TempDir()
	code, err := os.ReadFile(programs.Tool())
	t.must(err)
	t.must(os.WriteFile(filepath.Join(dir, "code"), code[:min(len(code), 100_000)], 0o644))
	cmd := "tar -C " + dir + " --mtime=@1 --owner=0 --group=0 -c code | xz --" + filter
	if filter != "lzma2" {
		cmd += " --lzma2"
	}
	packed, err := exec.Command("sh", "-c", cmd).Output()
	t.must(err)
	return packed
}

// The engine ends by itself some time after the last sx, and its mounts end with it.
func TestEngineEnds(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	tree.Sx("build", "bootstrap-seed")
	if n := len(tree.Engines()); n != 1 {
		t.Errorf("%d engines right after a build, want one that waits for the next", n)
	}
	tree.WantNothingLeft()
	if log := tree.Read(".sx/engine/engine.log"); strings.Contains(log, "panic") {
		t.Errorf("the engine did not end well:\n%s", log)
	}
}

// The engine's state is a cache: if a crash damaged it, the engine starts with an
// empty one.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	tree.Sx("build", "core-hex")
	dbs, err := filepath.Glob(tree.Path(".sx/engine/state/*/*/*.db"))
	if err != nil || len(dbs) == 0 {
		t.Fatalf("no databases: %v", err)
	}
	for _, db := range dbs {
		for how, damage := range map[string]func(db string, size int64) error{
			"overwritten": func(db string, n int64) error {
				return os.WriteFile(db, bytes.Repeat([]byte("damage"), int(n/6)), 0o600)
			},
			"cut":   func(db string, n int64) error { return os.Truncate(db, n/2+1) },
			"empty": func(db string, _ int64) error { return os.Truncate(db, 0) },
		} {
			tree.stopEngine()
			now, _ := filepath.Glob(tree.Path(".sx/engine/state/*/*", filepath.Base(db))) // a new state is elsewhere
			if len(now) != 1 {
				t.Fatalf("%s: %d of them, want one", filepath.Base(db), len(now))
			}
			info, err := os.Stat(now[0])
			tree.must(err)
			tree.must(damage(now[0], info.Size()))
			if out := tree.Sx("build", "--no-cache", "core-hex"); !strings.Contains(out, "core-hex MATCH") {
				t.Errorf("%s %s:\n%s", filepath.Base(db), how, out)
			}
		}
	}
	if left, _ := filepath.Glob(tree.Path(".sx/engine/state/*/*/*.bak")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// If .sx is removed under a running engine, the next sx starts another, which the
// old engine does not disturb.
func TestStateRemoved(t *testing.T) {
	t.Parallel()
	tree := Examples(t, programs, "")
	for range 4 {
		tree.must(os.RemoveAll(tree.Path(".sx")))
		tree.must(os.RemoveAll(tree.Path("out")))
		tree.Sx("build", "core-filesystem") // takes less than the old engine waits for a client
	}
	old := len(tree.Engines())
	Until(t, patience, "only the last engine is left", func() bool {
		tree.Sx("build", "--no-cache", "core-hex", "core-filesystem")
		return len(tree.Engines()) == 1
	})
	if old < 2 {
		t.Errorf("%d engines at the end: no old one lived beside the new one", old)
	}
	buildExamples(t, tree)
}

// The next engine removes the cgroups of a killed one.
func TestCgroups(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	r := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	groups := tree.cgroups(Running(mark)[0])
	if len(groups) == 0 {
		t.Error("the container has no cgroup of its own")
	}
	tree.killEngine()
	Until(t, patience, "the build begins again", func() bool { return strings.Contains(r.Stderr.String(), "it was building begins again") })
	tree.Sleeping(mark)
	tree.wantGone(groups)
	groups = tree.cgroups(Running(mark)[0])
	r.Cmd.Process.Kill()
	tree.killEngine()
	r.Wait()
	tree.Sx("build", "core-other")
	tree.stopEngine()
	tree.wantGone(groups)
}

// sx removes the cgroups of an engine that was killed under it.
func TestCgroupsWithoutEngine(t *testing.T) {
	t.Parallel()
	tree, mark := newSleeper(t, time.Minute)
	r := tree.Start("build", "core-sleep")
	tree.Sleeping(mark)
	groups := tree.cgroups(Running(mark)[0])
	r.Cmd.Process.Signal(unix.SIGTERM)
	Until(t, patience, "sx cancels", func() bool { return strings.Contains(r.Stderr.String(), "cancelling") })
	tree.killEngine()
	r.Wait()
	tree.wantGone(groups)
}

func (t *Tree) wantGone(dirs []string) {
	t.t.Helper()
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			t.t.Errorf("%s is left", dir)
		}
	}
}

// newSleeper returns a tree whose core-sleep runs for a while; mark identifies its
// container.
func newSleeper(t *testing.T, d time.Duration) (tree *Tree, mark string) {
	t.Helper()
	return NewSleeper(t, programs, d)
}

// cgroups returns the folders of a container's cgroups.
func (t *Tree) cgroups(pid int) (dirs []string) {
	t.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	t.must(err)
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if !strings.HasPrefix(parts[2], "/sx-") {
			continue
		}
		for _, hierarchy := range []string{"", "unified", strings.TrimPrefix(parts[1], "name=")} {
			dir := filepath.Join("/sys/fs/cgroup", hierarchy, parts[2])
			if _, err := os.Stat(dir); err == nil {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}
