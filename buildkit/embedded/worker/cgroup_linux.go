package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
)

// cgroupOf names the cgroup above those of the containers of a state. Each state has its
// own, which distinguishes what a killed engine left from what another one uses.
func cgroupOf(root string) string {
	sum := sha256.Sum256([]byte(root))
	return "sx-" + hex.EncodeToString(sum[:6])
}

// ClearCgroups removes the empty cgroups of a state in every hierarchy: of version 1
// there are many. The kernel refuses to remove one in use.
func ClearCgroups(root string) {
	for _, pattern := range []string{"buildkit/*", "buildkit", ""} {
		for _, hierarchy := range hierarchies {
			groups, _ := filepath.Glob(filepath.Join(hierarchy, cgroupOf(root), pattern))
			for _, g := range groups {
				os.Remove(g)
			}
		}
	}
}

// HasCgroups reports whether there are cgroups of a state.
func HasCgroups(root string) bool {
	for _, hierarchy := range hierarchies {
		if found, _ := filepath.Glob(filepath.Join(hierarchy, cgroupOf(root))); len(found) > 0 {
			return true
		}
	}
	return false
}

// hierarchies matches the roots of cgroups: of version 2, and of version 1.
var hierarchies = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"}
