package cache

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"codeberg.org/stagex/sx/cache/disk"
)

// ownFile marks a folder whose contents this user's sx made.
const ownFile = "made-here"

// Own marks the folder at path as filled by this user's sx from now on. The mark
// holds for that very folder only: a copy of it, here or elsewhere, is not owned.
func (s *Store) Own(path string) error {
	id, err := folderID(path)
	if err != nil {
		return fmt.Errorf("marking %q: %w", path, err)
	}
	mark := hex.EncodeToString(s.key.MAC("folder", id)) + "\n"
	return disk.WriteFile(filepath.Join(path, ownFile), []byte(mark), 0o600, path)
}

// Owned reports whether the folder at path bears the mark of Own.
func (s *Store) Owned(path string) bool {
	id, err := folderID(path)
	if err != nil {
		return false
	}
	mark, err := disk.ReadFile(filepath.Join(path, ownFile), 1024)
	return err == nil && s.key.Verify("folder", id, strings.TrimSuffix(string(mark), "\n"))
}

// folderID tells a folder from every other that exists on this machine.
func folderID(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("it is no folder")
	}
	st, err := disk.StatPath(path)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%d:%d", st.Dev, st.Ino), nil
}
