package enginetest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stuck has an output whose second RUN fails, and a shell in it.
const stuck = `
-- packages/core/box/package.toml --
[package]
name = "box"
-- packages/core/box/Containerfile --
FROM scratch
COPY busybox /bin/
RUN --network=none ["/bin/busybox", "--install", "-s", "/bin"]
-- packages/core/stuck/package.toml --
[package]
name = "stuck"
-- packages/core/stuck/Containerfile --
FROM stagex/core-box
WORKDIR /job
RUN --network=none echo made >made
RUN --network=none echo half >half && false
`

// TestShell opens a shell where a build fails, on a terminal whose size changes, as root
// and as an ordinary user.
func TestShell(t *testing.T) {
	t.Run("root", func(t *testing.T) {
		wantShell(t, stuckTree(t, ""))
	})
	t.Run("ordinary", func(t *testing.T) {
		home, cred := newUser(t)
		tree := stuckTree(t, home+"/tree")
		tree.asUser(home, cred)
		wantShell(t, tree)
	})
}

func stuckTree(t *testing.T, dir string) *Tree {
	t.Helper()
	tree := NewTree(t, programs, dir, stuck)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(busybox)
	tree.must(err)
	tree.Write("packages/core/box/busybox", data)
	tree.must(os.Chmod(tree.Path("packages/core/box/busybox"), 0o755))
	return tree
}

func wantShell(t *testing.T, tree *Tree) {
	t.Helper()
	tree.Sx("build", "core-box")
	s := tree.shell("core-stuck")
	s.want("nothing that you do here is kept")
	s.typed("stty size; id -u; cat made half")
	s.want("30 100")
	s.want("0\nmade\nhalf")
	resizeTerminal(t, s.master, 70, 20)
	s.typed("until stty size | grep '^20 70'; do :; done")
	s.want("\n20 70")
	s.typed("exit 3")
	if code := s.end(); code != 3 {
		t.Errorf("exit code %d, want the shell's 3\n%s", code, s.text())
	}
	if left, _ := os.ReadDir(tree.Path(".sx/tmp")); len(left) > 0 {
		t.Errorf("%v is left in .sx/tmp", left)
	}
	if _, err := os.Stat(tree.Path("out/core-stuck")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("out/core-stuck: %v", err)
	}
	tree.WantNothingLeft()
}

// typist is a person at a terminal in which sx shell runs.
type typist struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	read   chan struct{} // closed when nothing more comes

	mu   sync.Mutex
	seen string
	from int // what was waited for before ends here
}

// shell runs sx shell on a terminal of 100 columns and 30 rows.
func (t *Tree) shell(args ...string) *typist {
	test := t.t.(*testing.T)
	test.Helper()
	master, slave := openTerminal(test)
	resizeTerminal(test, master, 100, 30)
	c := exec.CommandContext(test.Context(), t.sx, append([]string{"shell"}, args...)...)
	c.Dir, c.Env = t.Dir, append(os.Environ(), append(t.Env, "TERM=xterm", "CI=")...)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Credential: t.user}
	t.must(c.Start())
	slave.Close()
	s := &typist{t: test, master: master, cmd: c, read: make(chan struct{})}
	test.Cleanup(func() {
		if test.Failed() {
			test.Logf("the terminal showed\n%s", s.text())
		}
	})
	go func() {
		defer close(s.read)
		for buf := make([]byte, 4096); ; {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.seen += strings.ReplaceAll(string(buf[:n]), "\r\n", "\n")
			s.mu.Unlock()
			if err != nil { // the other end is closed
				return
			}
		}
	}()
	return s
}

func (s *typist) typed(line string) {
	s.t.Helper()
	if _, err := s.master.WriteString(line + "\n"); err != nil {
		s.t.Fatal(err)
	}
}

// want waits until the terminal shows a text, after what it was asked for before.
func (s *typist) want(text string) {
	s.t.Helper()
	Until(s.t, patience, "the terminal shows "+text, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := strings.Index(s.seen[s.from:], text)
		if i >= 0 {
			s.from += i + len(text)
		}
		return i >= 0
	})
}

func (s *typist) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// end returns the exit code of sx.
func (s *typist) end() int {
	s.t.Helper()
	late := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	defer late.Stop()
	err := s.cmd.Wait()
	<-s.read
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}
