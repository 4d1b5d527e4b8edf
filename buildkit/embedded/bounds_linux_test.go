package embedded

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache"
)

// newEngine is one in a new tree, with limits that a test can wait for.
func newEngine(t *testing.T) *Engine {
	t.Helper()
	dir := t.TempDir()
	store, err := cache.Open(dir, cache.Options{KeyFile: filepath.Join(dir, "key")})
	mustDo(t, err)
	t.Cleanup(func() { store.Close() })
	e := &Engine{Dir: store.Dir("engine"), Store: store, limits: limits{start: 300 * time.Millisecond, answer: 300 * time.Millisecond}}
	mustDo(t, os.MkdirAll(e.Dir, 0o700))
	mustDo(t, store.Mark(e.Dir))
	return e
}

// ends returns the error of do, which must not take long.
func ends(t *testing.T, do func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it is waited for ever")
		return nil
	}
}

// An engine that is started and never listens is ended, with all that it has started.
func TestEngineThatNeverListens(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes a PID namespace")
	}
	e := newEngine(t)
	pid := filepath.Join(t.TempDir(), "pid")
	e.Executable = filepath.Join(t.TempDir(), "sx")
	mustDo(t, os.WriteFile(e.Executable, []byte("#!/bin/sh\n/bin/sleep 600 & echo started > "+pid+"; wait\n"), 0o755))
	lock, err := tryLock(e.Dir + ".lock")
	mustDo(t, err)
	defer lock.Close()
	err = ends(t, func() error { return e.spawn(t.Context(), childConfig{Dir: e.Dir}, nil, lock) })
	if err == nil || !strings.Contains(err.Error(), "it did not listen within 300ms; see ") {
		t.Errorf("spawn: %v", err)
	}
	lock.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // its processes hold the lock
		again, err := tryLock(e.Dir + ".lock")
		mustDo(t, err)
		if again != nil {
			again.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the engine's processes live on")
		}
	}
}

// A stopped engine holds its lock and its socket, and answers nothing.
func TestEngineThatNeverAnswers(t *testing.T) {
	e := newEngine(t)
	id, err := buildID(e.executable())
	mustDo(t, err)
	t.Chdir(e.Dir) // a socket's path is short
	l, err := net.Listen("unix", socketName(id))
	mustDo(t, err)
	defer l.Close()
	lock, err := tryLock(e.Dir + ".lock")
	mustDo(t, err)
	defer lock.Close()
	err = ends(t, func() error { _, err := e.Connect(t.Context()); return err })
	if err == nil || !strings.Contains(err.Error(), "does not answer") || !strings.Contains(err.Error(), "sx engine stop --force ends it") {
		t.Errorf("Connect: %v", err)
	}
}
