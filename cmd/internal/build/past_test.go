package build

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/graph"
)

func emptyTree(t *testing.T) *Tree {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "packages/core"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := OpenTree(t.Context(), dir, TreeOptions{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// The last build of each output counts, whatever a kill or another hand left in
// the file.
func TestPasts(t *testing.T) {
	tree := emptyTree(t)
	tree.remember(past{Output: "core-a", Seconds: 5})
	path := tree.Store.Dir(pastFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := string(data) + `{"output":"core-c","seconds":-3}` + "\n" + `{"output":"core-b","sec`
	if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	tree.remember(past{Output: "core-a", Seconds: 7.5, Peak: 3 << 30})
	got := tree.pasts()
	if len(got) != 1 || got["core-a"].took() != 7500*time.Millisecond || got["core-a"].Peak != 3<<30 {
		t.Errorf("got %v", got)
	}
}

func TestPastsAreShortened(t *testing.T) {
	tree := emptyTree(t)
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "{\"output\":\"core-a\",\"seconds\":%d}\n", i+1)
	}
	path := tree.Store.Dir(pastFile)
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := tree.pasts(); got["core-a"].Seconds != 3000 {
			t.Errorf("got %v", got)
		}
	}
	if data, _ := os.ReadFile(path); len(data) > 100 {
		t.Errorf("%d bytes are left", len(data))
	}
}

// What was measured wins over what somebody says and that over a guess, but of
// memory what somebody says wins.
func TestExpect(t *testing.T) {
	tree := emptyTree(t)
	tree.evidence = nil // of outputs that are the tree's
	all := familyOf(t, "known:\nsaid:\nguessed:\n")
	for _, s := range all {
		s.Expected, s.Output.Definition.Stage = 0, "core"
	}
	tree.remember(past{Output: "core-known", Seconds: 60, Peak: 2 << 30})
	hints := map[string]Hint{"core-known": {8 << 30, time.Hour}, "core-said": {0, 3 * time.Minute}}
	check := func(want ...string) {
		t.Helper()
		tree.expect(all, Capacity{Hints: hints})
		for i, s := range all {
			if got := fmt.Sprint(s.Expected, s.Guessed, s.Memory>>30); got != want[i] {
				t.Errorf("%s: %s, want %s", s.Output.Ref, got, want[i])
			}
		}
	}
	check("1m0s false 8", "3m0s false 0", "2m0s true 0")
	// A build that the cache spared work teaches nothing, unless it took longer.
	r := &run{Tree: tree}
	r.rememberBuild(all[0], time.Second, &buildkit.Image{Cached: true})
	r.rememberBuild(all[2], 2*time.Second, &buildkit.Image{})
	check("1m0s false 8", "3m0s false 0", "2s false 0")
	delete(hints, "core-known")
	check("1m0s false 8", "3m0s false 0", "2s false 0")
	hints["core-x"] = Hint{1 << 30, time.Minute}
	all[1].Output.Definition = &graph.Definition{Stage: "core", Name: "x"}
	check("1m0s false 8", "3m0s false 1", "2s false 0")
}
