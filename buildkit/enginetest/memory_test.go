package enginetest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The engine reports how much memory a build needed, which the next run takes into
// account. A build from the cache needs none, and does not change what is known.
func TestPeakMemory(t *testing.T) {
	t.Parallel()
	tree := NewTree(t, programs, "", `
-- packages/core/big/package.toml --
[package]
name = "big"
-- packages/core/big/Containerfile --
FROM scratch
COPY tool /tool
RUN --network=none ["/tool", "need", "300", "400ms"]
-- packages/core/small/package.toml --
[package]
name = "small"
-- packages/core/small/Containerfile --
FROM scratch
COPY tool /tool
RUN --network=none ["/tool", "need", "1", "400ms"]
`)
	tree.Sx("build", "--all")
	first := tree.peaks()
	if big, small := first["core-big"], first["core-small"]; big < 300<<20 || big > 600<<20 || small <= 0 || small > 100<<20 {
		t.Errorf("peaks of 300 and 1 MiB: %v", first)
	}
	tree.Sx("build", "--all", "--rebuild")
	if again := tree.peaks(); again["core-big"] != first["core-big"] {
		t.Errorf("peaks of cached builds %v, before %v", again, first)
	}
	logs, _ := filepath.Glob(tree.Path(".sx/logs/core-big/*"))
	if len(logs) != 2 {
		t.Fatalf("%d logs", len(logs))
	}
	for _, path := range logs {
		if data, err := os.ReadFile(path); err != nil || strings.Contains(string(data), "peak") {
			t.Errorf("the log speaks of it, or %v:\n%s", err, data)
		}
	}
}

// peaks returns the last peak of each output in the list of builds.
func (t *Tree) peaks() map[string]int64 {
	t.t.Helper()
	peaks := map[string]int64{}
	for line := range strings.Lines(t.Read(".sx/builds")) {
		var build struct {
			Output string
			Peak   int64
		}
		if json.Unmarshal([]byte(line), &build) == nil {
			peaks[build.Output] = build.Peak
		}
	}
	return peaks
}
