package inspect

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncAll syncs the filesystem that holds a folder.
func syncAll(dir string) error {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncing %q: %w", dir, err)
	}
	return nil
}
