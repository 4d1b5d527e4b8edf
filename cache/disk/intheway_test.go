package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder in the place of a file, or a file in that of a folder, is named with the way out.
func TestInTheWay(t *testing.T) {
	dir := t.TempDir()
	folder, file := filepath.Join(dir, "folder"), filepath.Join(dir, "file")
	if err := errors.Join(os.MkdirAll(filepath.Join(folder, "x"), 0o755), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, lock := LockFile(folder)
	_, shared := LockFileShared(folder)
	_, list := List(file)
	for name, err := range map[string]error{
		"writing": WriteFile(folder, []byte("x"), 0o644, dir), "locking": lock, "locking shared": shared,
		"listing": list, "making a folder": EnsurePrivate(file),
	} {
		var unsafe *UnsafeError
		if !errors.As(err, &unsafe) || !strings.HasPrefix(unsafe.Path, dir) || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "x")); err != nil {
		t.Error(err)
	}
}
