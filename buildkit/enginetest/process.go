package enginetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit/embedded"
)

// Buffer is a bytes.Buffer that may be read while a process writes into it.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Until polls until ok, or fails the test after a while.
func Until(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processes returns the ids of all processes with an argument that contains text,
// except this one.
func processes(text string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte(text)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Engines returns the ids of the tree's engine processes.
func (t *Tree) Engines() (pids []int) {
	for _, pid := range processes(t.Path()) {
		// One whose parent is an engine too is a fork of it, about to become
		// a runc.
		if isEngine(pid) && !isEngine(parent(pid)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isEngine(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(string(line), "\x00")
	return err == nil && len(args) > 1 && args[1] == embedded.ChildArg
}

// parent returns the parent of a process, 0 if the process has ended.
func parent(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(line)
	return n
}

// Leftovers returns the processes and mounts of the tree's engine.
func (t *Tree) Leftovers() (left []string) {
	for _, pid := range processes(t.Path()) {
		left = append(left, fmt.Sprintf("process %d", pid))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	t.must(err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, t.Path(".sx")) {
			left = append(left, "mount "+line)
		}
	}
	return left
}

// WantNothingLeft waits for the engine to end by itself, within a few seconds of the
// last sx.
func (t *Tree) WantNothingLeft() {
	t.t.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if left = t.Leftovers(); len(left) == 0 {
			return
		}
	}
	t.t.Errorf("left behind: %s", slices.Compact(left))
}

// stopEngine stops the engine, which saves the test the seconds that an engine waits
// for another sx.
func (t *Tree) stopEngine() {
	t.t.Helper()
	for _, pid := range t.Engines() {
		unix.Kill(pid, unix.SIGTERM)
	}
	t.WantNothingLeft()
}

// inside returns the command line that runs a program in the network namespace of a process.
func inside(pid int, args ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(pid), "--net", "--"}, args...)
}
