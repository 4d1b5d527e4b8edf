package imagediff

import (
	"os"
)

// TempDir returns the folder for large temporary files: $TMPDIR, else /var/tmp, because /tmp may lie in memory, else the
// system's.
func TempDir() string {
	if os.Getenv("TMPDIR") == "" {
		if info, err := os.Stat("/var/tmp"); err == nil && info.IsDir() {
			return "/var/tmp"
		}
	}
	return os.TempDir()
}

// TempFile makes a file without a name in dir ("" for TempDir): it is gone with the process, however that ends.
func TempFile(dir string) (*os.File, error) {
	if dir == "" {
		dir = TempDir()
	}
	f, err := os.CreateTemp(dir, "sx-diff-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
