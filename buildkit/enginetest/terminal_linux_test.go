package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a new pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func resizeTerminal(t *testing.T, master *os.File, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

var (
	styles   = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]|\r")
	counters = regexp.MustCompile(`^(\d+)/(\d+) done`)
)

// watched is what a terminal was sent: a live line ends with the sequence that
// clears the rest of the line.
type watched struct {
	t       *testing.T
	width   int
	pardons int // live lines of the totals that may be of the width before
	done    int
	frames  int // with totals, in this width
}

// line checks a line that was sent.
func (w *watched) line(line string) {
	live := strings.HasSuffix(line, "\x1b[K\r")
	text := styles.ReplaceAllString(line, "")
	if !live {
		return
	}
	if n := utf8.RuneCountInString(text); n > w.width && w.pardons == 0 {
		w.t.Errorf("%d columns on a terminal of %d: %q", n, w.width, text)
	}
	m := counters.FindStringSubmatch(text)
	if m == nil {
		return
	}
	if w.frames++; w.pardons > 0 {
		w.pardons, w.frames = w.pardons-1, 0
	}
	done, _ := strconv.Atoi(m[1])
	if done < w.done || m[2] != strconv.Itoa(towerHeight) {
		w.t.Errorf("%d outputs were done, now %q", w.done, text)
	}
	w.done = done
}

const towerHeight = 14

// tower is a chain of so many outputs.
func tower() (archive string) {
	base := "scratch"
	for i := range towerHeight {
		name := fmt.Sprintf("a-name-that-is-rather-long-%02d", i)
		archive += fmt.Sprintf("-- packages/core/%[1]s/package.toml --\n[package]\nname = %[1]q\n"+
			"-- packages/core/%[1]s/Containerfile --\nFROM %[2]s\nCOPY package.toml /%[1]s\n", name, base)
		base = "stagex/core-" + name
	}
	return archive
}

// TestTerminal builds on a real terminal that becomes narrower: live lines fit into
// it, and counters never decrease.
func TestTerminal(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", tower())
	master, slave := openTerminal(t)
	resizeTerminal(t, master, 100, 30)
	c := exec.CommandContext(t.Context(), tree.sx, "build", "--all", "-j", "1")
	c.Dir, c.Env = tree.Dir, append(os.Environ(), append(tree.Env, "TERM=xterm", "CI=", "NO_COLOR=", "CLICOLOR_FORCE=1", "BUILDKIT_PROGRESS=", "SX_BUILD_PROGRESS=")...)
	c.Stdin, c.Stderr = slave, slave
	var verdicts Buffer
	c.Stdout = &verdicts
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	stuck := time.AfterFunc(patience, func() { c.Process.Kill() })
	defer stuck.Stop()
	w := &watched{t: t, width: 100}
	var sent strings.Builder
	wide, rest := 0, ""
	for buf := make([]byte, 4096); ; {
		n, err := master.Read(buf) // an error once the other end is closed
		sent.Write(buf[:n])
		lines := strings.Split(rest+string(buf[:n]), "\n")
		for _, line := range lines[:len(lines)-1] {
			w.line(line)
		}
		if rest = lines[len(lines)-1]; err != nil {
			break
		}
		if w.width == 100 && w.done >= 3 {
			wide = w.frames
			resizeTerminal(t, master, 36, 10)
			w.width, w.pardons, w.frames = 36, 2, 0
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, sent.String())
	}
	if wide == 0 || w.frames < 3 || !strings.Contains(verdicts.String(), fmt.Sprintf("%d outputs: ", towerHeight)) {
		t.Errorf("%d frames on the wide terminal, %d on the narrow one\n%q\n%s", wide, w.frames, sent.String(), &verdicts)
	}
	if !strings.Contains(sent.String(), fmt.Sprintf("%d built, 0 up to date", towerHeight)) {
		t.Errorf("no last line in\n%s", sent.String())
	}
}
