package disk

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func hexText(data []byte) string { return hex.EncodeToString(data) }

func TestKeyFile(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "state", "sx", "record.key")
	key := must(LoadKey(path))(t)
	if key != must(LoadKey(path))(t) || key == (Key{}) {
		t.Error("the key must stay")
	}
	info := must(os.Stat(path))(t)
	if info.Mode().Perm() != 0o600 || info.Size() != 65 {
		t.Errorf("the file is %v", info)
	}
	if left := must(os.ReadDir(filepath.Dir(path)))(t); len(left) != 1 {
		t.Errorf("left beside it: %v", left)
	}
	if key == must(LoadKey(path+"-2"))(t) {
		t.Error("keys must differ")
	}
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.key")
	keys := make([]Key, 32)
	var group errgroup.Group
	for i := range keys {
		group.Go(func() (err error) {
			keys[i], err = LoadKey(path)
			return err
		})
	}
	must(0, group.Wait())(t)
	for _, key := range keys {
		if key != keys[0] {
			t.Fatal("two keys were made")
		}
	}
}

func TestKeyFileRefuses(t *testing.T) {
	if _, err := LoadKey(""); err == nil || !strings.Contains(err.Error(), "no file is given") {
		t.Errorf("got %v for no path", err)
	}
	good := hexText(make([]byte, 31)) + "01\n"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"readable":  {good, 0o644},
		"writable":  {good, 0o620},
		"empty":     {"", 0o600},
		"short":     {good[2:], 0o600},
		"truncated": {good[:63], 0o600},
		"zero":      {strings.Repeat("0", 64) + "\n", 0o600},
	} {
		path := filepath.Join(t.TempDir(), "record.key")
		must(0, os.WriteFile(path, []byte(c.text), 0o644))(t)
		must(0, os.Chmod(path, c.mode))(t)
		if key, err := LoadKey(path); err == nil || key != (Key{}) {
			t.Errorf("%s: no error", name)
		}
		if data := must(os.ReadFile(path))(t); string(data) != c.text {
			t.Errorf("%s: the file was replaced", name)
		}
		link := path + "-link"
		must(0, errors.Join(os.Chmod(path, 0o600), os.Symlink(path, link)))(t)
		if _, err := LoadKey(link); err == nil {
			t.Errorf("%s: a link was followed", name)
		}
	}
}

func TestMACPurpose(t *testing.T) {
	key := NewKey([32]byte{1})
	mac := hexText(key.MAC("a", []byte("b")))
	if !key.Verify("a", []byte("b"), mac) || key.Verify("b", []byte("b"), mac) || key.Verify("a", []byte("b"), mac+"00") {
		t.Error("a MAC holds for its purpose and data alone")
	}
}
