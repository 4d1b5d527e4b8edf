package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever waited for a lock whose file was removed meanwhile gets that of the new file, not
// one that excludes no other process.
func TestLockFileOfARemovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *os.File, 1)
	go func() {
		f, err := LockFile(path)
		if err != nil {
			t.Error(err)
		}
		got <- f
	}()
	awaitWaiter(t, first)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second.Close()
	last := <-got
	defer last.Close()
	if !isAt(last, path) {
		t.Error("the lock is on the removed file")
	}
}

// awaitWaiter returns when a process waits for the lock of a file: /proc/locks says so.
func awaitWaiter(t *testing.T, f *os.File) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(locks)) {
			if strings.Contains(line, "->") && strings.Contains(line, fmt.Sprintf(":%d ", st.Ino)) {
				return
			}
		}
	}
	t.Fatal("the lock is not waited for")
}
