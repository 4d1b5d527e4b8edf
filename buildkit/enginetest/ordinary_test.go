package enginetest

import (
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
	"time"

	"golang.org/x/sys/unix"
)

// newUser makes an ordinary user with a home, and ids of its own as useradd gives
// them to every new user. All of it goes when the test ends.
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

// give makes all in dir the user's.
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
// those may open.
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

// An ordinary user builds the same bytes as root, whatever root's environment
// says, and what the engine leaves can be removed by that user. Its kills leave
// nothing behind either.
func TestOrdinaryUser(t *testing.T) {
	root := NewTree(t, programs, "", owners)
	root.Sx("build", "--all")
	want := root.Digest("core-owners")

	home, cred := newUser(t)
	tree := Examples(t, programs, filepath.Join(home, "tree"))
	NewTree(t, programs, tree.Dir, owners)
	tree.asUser(home, cred)
	if out := tree.Sx("build", "--all"); !strings.Contains(out, "17 outputs: 16 MATCH, 1 UNPUBLISHED") {
		t.Fatalf("not all match:\n%s", out)
	}
	if got := tree.Digest("core-owners"); got != want {
		t.Errorf("core-owners is %s, root's is %s", got, want)
	}
	tree.wantForeign(cred)
	tree.WantNothingLeft()

	for round := range 3 {
		r := tree.Start("build", "--no-cache", "--all")
		Until(t, patience, "a build runs", func() bool { return strings.Contains(r.Stderr.String(), "built in") })
		r.Cmd.Process.Kill()
		r.Wait()
		if round > 0 { // the engine as well, as a power cut would
			for _, pid := range tree.Engines() {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		began := time.Now()
		tree.WantNothingLeft()
		t.Logf("nothing left %s after the kill", time.Since(began).Round(time.Millisecond))
	}
	if out := tree.Sx("build", "--all"); !strings.Contains(out, "17 outputs: 16 MATCH, 1 UNPUBLISHED") {
		t.Errorf("after the kills:\n%s", out)
	}
	// chown -R, which people try, spoils the engine's state: it is noticed.
	tree.stopEngine()
	give(t, tree.Dir, cred)
	tree.Sx("build", "--no-cache", "core-owners")
	if log := tree.Read(".sx/engine/engine.log"); !strings.Contains(log, "owners were changed") {
		t.Errorf("the engine did not notice that its owners were changed:\n%s", log)
	}
	if got := tree.Digest("core-owners"); got != want {
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

// asUser lets an ordinary user own the tree and run sx, in an environment that
// says root in every way that it can.
func (t *Tree) asUser(home string, cred *syscall.Credential) {
	t.t.Helper()
	give(t.t, home, cred)
	t.user = cred
	t.Env = []string{"HOME=" + home, "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=/run/user/0", "USER=root", "LOGNAME=root"}
}

// wantForeign checks that the state of the engine holds what its user cannot
// remove: else the test proves nothing.
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
