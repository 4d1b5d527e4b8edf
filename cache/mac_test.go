package cache

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
)

func hexText(data []byte) string { return hex.EncodeToString(data) }

func TestKeyFile(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "state", "sx", "record.key")
	key := must(disk.LoadKey(path))(t)
	if key != must(disk.LoadKey(path))(t) || key == (disk.Key{}) {
		t.Error("the key must stay")
	}
	info := must(os.Stat(path))(t)
	if info.Mode().Perm() != 0o600 || info.Size() != 65 {
		t.Errorf("the file is %v", info)
	}
	if left := files(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left beside it: %v", left)
	}
	if key == must(disk.LoadKey(path+"-2"))(t) {
		t.Error("keys must differ")
	}
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.key")
	keys := make([]disk.Key, 32)
	var group errgroup.Group
	for i := range keys {
		group.Go(func() (err error) {
			keys[i], err = disk.LoadKey(path)
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
	_, err := disk.LoadKey("")
	wantError(t, err, "no file is given")
	good := hexText(make([]byte, 31)) + "01\n"
	for name, c := range map[string]struct {
		Rest string
		mode os.FileMode
	}{
		"readable":  {good, 0o644},
		"writable":  {good, 0o620},
		"empty":     {"", 0o600},
		"short":     {good[2:], 0o600},
		"truncated": {good[:63], 0o600},
		"zero":      {zeros + "\n", 0o600},
	} {
		path := filepath.Join(t.TempDir(), "record.key")
		write(t, path, []byte(c.Rest))
		must(0, os.Chmod(path, c.mode))(t)
		if key, err := disk.LoadKey(path); err == nil || key != (disk.Key{}) {
			t.Errorf("%s: no error", name)
		}
		if data := must(os.ReadFile(path))(t); string(data) != c.Rest {
			t.Errorf("%s: the file was replaced", name)
		}
		link := path + "-link"
		must(0, errors.Join(os.Chmod(path, 0o600), os.Symlink(path, link)))(t)
		if _, err := disk.LoadKey(link); err == nil {
			t.Errorf("%s: a link was followed", name)
		}
	}
}

func TestMACPurpose(t *testing.T) {
	key := disk.NewKey([32]byte{1})
	mac := hexText(key.MAC("a", []byte("b")))
	if !key.Verify("a", []byte("b"), mac) || key.Verify("b", []byte("b"), mac) || key.Verify("a", []byte("b"), mac+"00") {
		t.Error("a MAC holds for its purpose and data alone")
	}
}
