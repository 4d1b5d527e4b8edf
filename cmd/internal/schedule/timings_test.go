package schedule

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
)

// TestTimings checks that the last build of each output counts, whatever damaged
// lines the file has.
func TestTimings(t *testing.T) {
	tree := plantest.EmptyTree(t)
	RecordTiming(tree, Timing{Output: "core-a", Seconds: 5})
	path := tree.Store.Dir(timingsFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := string(data) + `{"output":"core-c","seconds":-3}` + "\n" + `{"output":"core-b","sec`
	if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	RecordTiming(tree, Timing{Output: "core-a", Seconds: 7.5, Peak: 3 << 30})
	got := Timings(tree)
	if len(got) != 1 || got["core-a"].duration() != 7500*time.Millisecond || got["core-a"].Peak != 3<<30 {
		t.Errorf("got %v", got)
	}
}

func TestTimingsAreShortened(t *testing.T) {
	tree := plantest.EmptyTree(t)
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "{\"output\":\"core-a\",\"seconds\":%d}\n", i+1)
	}
	path := tree.Store.Dir(timingsFile)
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := Timings(tree); got["core-a"].Seconds != 3000 {
			t.Errorf("got %v", got)
		}
	}
	if data, _ := os.ReadFile(path); len(data) > 100 {
		t.Errorf("%d bytes are left", len(data))
	}
}
