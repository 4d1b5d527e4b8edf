package enginetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// newUser creates an ordinary user with a home and with ids as useradd assigns them.
// They are removed when the test ends.
func newUser(t testing.TB) (home string, cred *syscall.Credential) {
	t.Helper()
	name := fmt.Sprintf("sx-test-%d", os.Getpid())
	// Not in t.TempDir, into which only root can look.
	home, err := os.MkdirTemp("", "sx-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if out, err := exec.Command("useradd", "--no-create-home", "--home-dir", home, name).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", "--force", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v: %s", err, out)
		}
	})
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return home, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// give makes everything in dir belong to the user.
func give(t testing.TB, dir string, cred *syscall.Credential) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, int(cred.Uid), int(cred.Gid))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// owners leaves files of other users in the engine's state, in folders that only
// those users may open.
const owners = `
-- packages/core/owners/package.toml --
[package]
name = "owners"
version = "1"
-- packages/core/owners/Containerfile --
FROM scratch
COPY tool /
RUN --network=none ["/tool", "mkdir", "/a/b", ",", "write", "/a/b/c", "x", ",", "chown", "1000", "2000", "/a/b/c", ",", "chown", "65534", "65534", "/a/b", ",", "chmod", "0700", "/a/b", ",", "chown", "33", "33", "/a", ",", "chmod", "0700", "/a"]
`

// An ordinary user builds the same bytes as root, even with root's environment, and
// can remove what the engine leaves.
func TestOrdinaryUser(t *testing.T) {
	root := NewTree(t, programs, "", owners)
	root.Sx("build", "--all")
	want := root.Digest("core-owners")

	home, cred := newUser(t)
	tree := Examples(t, programs, filepath.Join(home, "tree"))
	NewTree(t, programs, tree.Dir, owners)
	tree.asUser(home, cred)
	tree.wantAll()
	if got := tree.Digest("core-owners"); got != want {
		t.Errorf("core-owners is %s, root's is %s", got, want)
	}
	if got := digestUnderRun(t, cred); got != want {
		t.Errorf("core-owners in a tree under /run is %s, root's is %s", got, want)
	}
	tree.wantForeign(cred)
	tree.WantNothingLeft()
	tree.wantKilledClean()
	tree.wantAll()
	tree.wantHints()
	if got := tree.afterChown(cred); got != want {
		t.Errorf("core-owners is %s after chown -R, root's is %s", got, want)
	}

	if out := tree.Sx("engine", "status"); !strings.Contains(out, "running for ") || !regexp.MustCompile(`holds +[0-9.]+MiB`).MatchString(out) {
		t.Errorf("the engine's status:\n%s", out)
	}
	tree.Sx("engine", "clean")
	if entries, err := os.ReadDir(tree.Path(".sx/engine")); err == nil {
		t.Errorf("left by engine clean: %v", entries)
	}
}

// digestUnderRun builds core-owners in a tree under /run, which the engine covers.
func digestUnderRun(t *testing.T, cred *syscall.Credential) string {
	t.Helper()
	home, err := os.MkdirTemp("/run", "sx-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	tree := NewTree(t, programs, filepath.Join(home, "tree"), owners)
	tree.asUser(home, cred)
	tree.Env = append(tree.Env, "SX_ENGINE_SNAPSHOTTER=native") // whatever /run is
	tree.Sx("build", "core-owners")
	return tree.Digest("core-owners")
}

func (t *Tree) wantAll() {
	t.t.Helper()
	if out := t.Sx("build", "--all"); !strings.Contains(out, "17 outputs: 16 MATCH, 1 UNPUBLISHED") {
		t.t.Fatalf("not all match:\n%s", out)
	}
}

// wantKilledClean kills sx, with and without its engine, during builds: nothing may
// be left behind.
func (t *Tree) wantKilledClean() {
	t.t.Helper()
	for _, engine := range []bool{false, true, true} {
		r := t.Start("build", "--no-cache", "--all")
		Until(t.t, patience, "a build runs", func() bool { return strings.Contains(r.Stderr.String(), "built in") })
		r.Cmd.Process.Kill()
		r.Wait()
		if engine { // as a power cut would
			for _, pid := range t.Engines() {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		t.WantNothingLeft()
	}
}

// wantHints builds what only root's engine can: sx reports it.
func (t *Tree) wantHints() {
	t.t.Helper()
	const dir = "packages/core/only-root/"
	t.Write(dir+"package.toml", []byte("[package]\nname = \"only-root\"\n"))
	t.Write(dir+"Containerfile", []byte("FROM scratch\nADD a.tar /\n"))
	for want, h := range map[string]tar.Header{
		"no device node can be created": {Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3},
		"add more there":                {Name: "file", Uid: 3_000_000},
	} {
		t.Write(dir+"a.tar", tarOf(t.t, h))
		if r := t.Start("build", "core-only-root").Want(1); !strings.Contains(r.Stderr.String(), want) {
			t.t.Errorf("not said: %s\n%s", want, &r.Stderr)
		}
	}
	t.must(os.RemoveAll(t.Path(dir)))
}

// afterChown changes the owners of files that cannot be removed, as people do, which
// spoils the engine's state, and returns the digest of core-owners built after it.
func (t *Tree) afterChown(cred *syscall.Credential) string {
	t.t.Helper()
	t.stopEngine()
	give(t.t, t.Dir, cred)
	t.Sx("build", "--no-cache", "core-owners")
	if log := t.Read(".sx/engine/engine.log"); !strings.Contains(log, "owners were changed") {
		t.t.Errorf("the engine did not notice that its owners were changed:\n%s", log)
	}
	return t.Digest("core-owners")
}

// tarOf returns an archive with one entry.
func tarOf(t testing.TB, h tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// asUser makes an ordinary user own the tree and run sx, in an environment with all
// of root's variables.
func (t *Tree) asUser(home string, cred *syscall.Credential) {
	t.t.Helper()
	give(t.t, home, cred)
	t.user = cred
	t.Env = []string{"HOME=" + home, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=/run/user/0", "USER=root", "LOGNAME=root"}
}

// wantForeign checks that the engine's state has files that its user cannot remove:
// otherwise the test proves nothing.
func (t *Tree) wantForeign(cred *syscall.Credential) {
	t.t.Helper()
	found := false
	t.must(filepath.WalkDir(t.Path(".sx/engine"), func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil && st.Uid != cred.Uid {
			found = true
		}
		return nil
	}))
	if !found {
		t.t.Error("no file of the engine's state belongs to another id")
	}
}
