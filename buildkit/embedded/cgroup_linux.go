package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"

	"codeberg.org/stagex/sx/buildkit"
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

var _ buildkit.Sweeper = (*Engine)(nil)

// sweepTime bounds how long the processes of a killed engine may take to end.
const sweepTime = 2 * time.Second

// Sweep removes the cgroups of a killed engine, which itself removes them when it ends
// and when it starts. It leaves them alone while an engine runs in the folder.
func (e *Engine) Sweep() {
	lock, err := tryLock(e.Dir + ".lock")
	if lock == nil || err != nil {
		return
	}
	defer lock.Close()
	roots, _ := filepath.Glob(filepath.Join(globEscape(e.Dir), "state", "*", "*"))
	for _, root := range roots {
		name := cgroupOf(root)
		for began := time.Now(); hasCgroups(name) && time.Since(began) < sweepTime; time.Sleep(pollInterval) {
			clearCgroups(name)
		}
	}
}

func hasCgroups(name string) bool {
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		if found, _ := filepath.Glob(filepath.Join(pattern, name)); len(found) > 0 {
			return true
		}
	}
	return false
}
