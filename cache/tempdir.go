package cache

import (
	"fmt"
	"os"

	"codeberg.org/stagex/sx/cache/disk"
)

// TempDir is a folder below the store's own for as long as this process lives: one
// that starts meanwhile removes only those whose process is gone.
type TempDir struct {
	Path string
	s    *Store
	lock *os.File
}

// TempDir makes one, on the filesystem of out/.
func (s *Store) TempDir(name string) (*TempDir, error) {
	if s.readOnly != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", name, s.readOnly)
	}
	path, lock, err := disk.ClaimDir(s.Dir("tmp"), name)
	if err != nil {
		return nil, fmt.Errorf("making a folder for %s: %w", name, err)
	}
	return &TempDir{path, s, lock}, nil
}

// Close removes the folder. Blobs in it that out/ has too are not hashed again for
// the name that they lose.
func (t *TempDir) Close() error {
	defer t.lock.Close()
	return t.s.discard(t.Path)
}
