package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOutputLock(t *testing.T) {
	s := newStore(t)
	held, err := s.TryLock("core-a")
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := s.TryLock("core-a"); !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Output != "core-a" {
		t.Errorf("a lock that is held: %v", err)
	}
	other, err := s.TryLock("core-b")
	if err != nil {
		t.Fatal(err)
	}
	other.Unlock()

	held.Unlock()
	if again, err := s.TryLock("core-a"); err != nil {
		t.Error(err)
	} else {
		again.Unlock()
	}
}

// Whoever removes the file of a lock that is held does not break the next one.
func TestOutputLockFileRemoved(t *testing.T) {
	s := newStore(t)
	first, err := s.TryLock("core-a")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Unlock()
	if err := os.Remove(s.Dir("locks", "core-a")); err != nil {
		t.Fatal(err)
	}
	second, err := s.TryLock("core-a")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Unlock()
	var locked *LockedError
	if _, err := s.TryLock("core-a"); !errors.As(err, &locked) {
		t.Errorf("two have the lock of one file: %v", err)
	}
}

func TestOutputLockThroughLink(t *testing.T) {
	s := newStore(t)
	if _, err := s.Folder("locks"); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, s.Dir("locks", "core-a")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryLock("core-a"); err == nil {
		t.Error("a lock was taken through a symbolic link")
	}
	if data, _ := os.ReadFile(victim); string(data) != "kept" {
		t.Errorf("the link's target holds %q", data)
	}
}
