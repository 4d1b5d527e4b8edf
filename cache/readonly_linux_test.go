package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

// Nobody, not even root, makes a folder of /sys: a store there is one of a tree
// that is read-only.
func TestOpenReadOnly(t *testing.T) {
	tree := t.TempDir()
	buildImage("layer").write(t, filepath.Join(tree, "out", "core-x"))
	s, err := Open(tree, Options{Dir: "/sys/sx", KeyFile: filepath.Join(t.TempDir(), "key"), Now: later, Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	var readOnly *ReadOnlyError
	if !errors.As(s.ReadOnly(), &readOnly) || readOnly.Path != "/sys/sx" {
		t.Errorf("got %v", s.ReadOnly())
	}
	must(s.Verify(t.Context(), "core-x"))(t)
	l := must(s.Check("core-x"))(t)
	if _, ok := s.Proof("core-x", l.Digest()); ok {
		t.Error("something is proven")
	}
	if known, _ := remembered(t, s, filepath.Join(tree, "out", "core-x", "blobs")); known == 0 {
		t.Error("nothing was hashed")
	}
	must(0, s.Stats().Save())(t)
	for what, err := range map[string]error{
		"Stage": second(s.Stage("core-x")), "Import": second(s.Import(t.Context(), "core-x")),
		"PutRecord":    s.PutRecord(sample("core-x", BuiltHere, "one")),
		"WriteDigests": s.WriteDigests(Published{"core-x": l.Digest()}),
	} {
		if !errors.As(err, &readOnly) {
			t.Errorf("%s: got %v", what, err)
		}
		wantError(t, err, "set paths.state")
	}
	if newStore(t).ReadOnly() != nil {
		t.Error("a common store is read-only")
	}
}

// A store in place is opened for reading, and the stat cache's not being saved is
// no error, where this user may not write.
func TestSaveReadOnly(t *testing.T) {
	s := newStoreLater(t)
	buildImage("layer").write(t, s.Out("core-x"))
	must(s.Check("core-x"))(t)
	must(0, s.PutRecord(sample("core-y", BuiltHere, "one")))(t)
	must(0, os.Chmod(s.dir, 0o500))(t)
	asNobody(t, func() {
		must(0, s.Stats().Save())(t)
		if again := open(t, s.tree); again.ReadOnly() == nil {
			t.Error("the store is not read-only")
		} else {
			must(again.Record("core-y"))(t)
		}
	})
	must(0, os.Chmod(s.dir, 0o700))(t)
	if _, err := os.Lstat(s.Dir("stats")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was saved nevertheless, or cannot be read: %v", err)
	}
	must(0, s.Stats().Save())(t)
	must(os.Lstat(s.Dir("stats")))(t) // there was something to save
}

// What another user built, with root's leave or not, is known before a build.
func TestReplaceable(t *testing.T) {
	s := newStore(t)
	must(0, s.Replaceable([]string{"core-x"}))(t)
	buildImage("layer").write(t, s.Out("core-x"))
	for _, path := range []string{s.Out("core-x"), filepath.Join(s.tree, "out")} {
		must(0, os.Chmod(path, 0o555))(t)
		asNobody(t, func() {
			err := s.Replaceable([]string{"core-x"})
			var unsafe *disk.UnsafeError
			if !errors.As(err, &unsafe) || unsafe.Path != path {
				t.Errorf("got %v, want an error about %s", err, path)
			}
		})
		must(0, os.Chmod(path, 0o755))(t)
	}
	must(0, s.Replaceable([]string{"core-x"}))(t)
}

// asNobody takes from root, as far as files go, what root may do beyond others.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		was := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		must(0, unix.Capget(&was, &caps[0]))(t)
		fewer := caps
		fewer[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
		must(0, unix.Capset(&was, &fewer[0]))(t)
		defer func() { must(0, unix.Capset(&was, &caps[0]))(t) }()
	}
	do()
}
