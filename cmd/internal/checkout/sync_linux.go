package checkout

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAll writes the filesystem of the folder at path to its disk.
func syncAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
