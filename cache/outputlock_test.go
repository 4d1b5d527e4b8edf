package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
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

// TestAlone: Alone fails beside another process, and one that opens the store meanwhile waits.
func TestAlone(t *testing.T) {
	s := newStore(t)
	other := open(t, s.tree)
	never := func() error { t.Error("not alone"); return nil }
	if err := s.Alone(never); !errors.Is(err, ErrInUse) {
		t.Errorf("beside another: %v", err)
	}
	if err := other.Alone(never); !errors.Is(err, ErrInUse) {
		t.Errorf("beside one that tried: %v", err)
	}
	must(0, other.Close())(t)
	opened := make(chan *Store)
	must(0, s.Alone(func() error {
		go func() { opened <- open(t, s.tree) }()
		select {
		case <-opened:
			t.Error("another one opened the store meanwhile")
		case <-time.After(50 * time.Millisecond): // long for an open; a slow one cannot fail the test
		}
		return nil
	}))(t)
	if err := (<-opened).Alone(never); !errors.Is(err, ErrInUse) {
		t.Errorf("after having been alone: %v", err)
	}
}
