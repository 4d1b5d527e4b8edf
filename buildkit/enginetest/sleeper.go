package enginetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sleeper = `
-- packages/core/sleep/package.toml --
[package]
name = "sleep"
version = "1"
-- packages/core/sleep/Containerfile --
FROM scratch AS build
COPY tool /
RUN --network=none ["/tool", "sleep", "TIME", "MARK", ",", "write", "/slept", "well"]
FROM scratch
COPY --from=build /slept /
-- packages/core/other/package.toml --
[package]
name = "other"
version = "1"
-- packages/core/other/Containerfile --
FROM scratch
COPY package.toml /
`

// NewSleeper returns a tree whose core-sleep runs for a while; mark identifies its
// container.
func NewSleeper(t testing.TB, p Programs, d time.Duration) (tree *Tree, mark string) {
	t.Helper()
	mark = "mark-" + filepath.Base(t.TempDir()) + "-" + strings.ReplaceAll(t.Name(), "/", "-") + "." // which no other test's begins with
	archive := strings.NewReplacer("TIME", d.String(), "MARK", mark).Replace(sleeper)
	return NewTree(t, p, "", archive), mark
}

// Sleeping waits until the container of core-sleep runs.
func (t *Tree) Sleeping(mark string) {
	t.t.Helper()
	Until(t.t, patience, "the build step runs", func() bool { return len(Running(mark)) > 0 })
}

// Running returns the processes of the container, without those of runc.
func Running(mark string) (pids []int) {
	for _, pid := range processes(mark) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.HasPrefix(string(line), "/tool\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}
