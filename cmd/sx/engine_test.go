package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit/embedded"
)

// noEngine is the variable that says that this machine is not meant to build.
const noEngine = "SX_TEST_NO_ENGINE"

// needEngine fails the test where nothing can be built: a test of the engine
// that is passed over in silence would prove nothing.
func needEngine(t *testing.T) {
	t.Helper()
	if os.Getenv(noEngine) == "1" {
		t.Skip(noEngine + "=1: what needs the engine is not tested")
	}
	if os.Geteuid() != 0 {
		t.Fatal("building needs root; " + noEngine + "=1 leaves these tests out")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		t.Fatalf("building needs runc: %v; %s=1 leaves these tests out", err, noEngine)
	}
}

// tokens bounds how many scripts with an engine run at once, whatever
// -parallel says: each has an engine of its own.
type tokens chan struct{}

var engines = make(tokens, 4)

func (c tokens) take() (release func()) {
	c <- struct{}{}
	return func() { <-c }
}

// stopEngines ends the engines below dir, which would otherwise outlive the
// script by the seconds that they wait for another sx.
func stopEngines(t *testing.T, dir string) {
	for _, pid := range enginesBelow(dir) {
		syscall.Kill(pid, syscall.SIGTERM)
	}
	for deadline := time.Now().Add(10 * time.Second); len(enginesBelow(dir)) > 0; {
		if time.Now().After(deadline) {
			t.Errorf("an engine below %s does not end", dir)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// enginesBelow finds engine children by their configuration, which names the
// folder of their state.
func enginesBelow(dir string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		args := bytes.Split(line, []byte{0})
		if err != nil || len(args) < 3 || string(args[1]) != embedded.ChildArg {
			continue
		}
		if !strings.Contains(string(args[2]), strconv.Quote(dir)[:len(dir)+1]+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
