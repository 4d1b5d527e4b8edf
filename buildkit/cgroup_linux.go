package buildkit

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
)

// cgroupOf names the cgroup above those of an engine's containers. Each engine
// folder has its own, so that what a killed engine left can be told from what
// another one uses.
func cgroupOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "sx-" + hex.EncodeToString(sum[:6])
}

// clearCgroups removes the empty groups under name, in every hierarchy: of
// version 1 there are many. The kernel refuses to remove one in use.
func clearCgroups(name string) {
	for _, pattern := range []string{"buildkit/*", "buildkit", ""} {
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			groups, _ := filepath.Glob(filepath.Join(root, name, pattern))
			for _, g := range groups {
				os.Remove(g)
			}
		}
	}
}
