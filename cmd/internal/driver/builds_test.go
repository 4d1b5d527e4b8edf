package driver

import (
	"fmt"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/graph"
)

// An earlier build's time precedes the user's hint, which precedes an estimate; the
// user's hint of memory precedes what an earlier build needed.
func TestEstimateSteps(t *testing.T) {
	tree := plantest.EmptyTree(t)
	all := plantest.FamilyOf(t, "known:\nsaid:\nguessed:\n")
	for _, s := range all {
		s.Expected, s.Output.Definition.Stage = 0, "core"
	}
	schedule.RecordTiming(tree, schedule.Timing{Output: "core-known", Seconds: 60, Peak: 2 << 30})
	hints := map[string]schedule.Hint{"core-known": {Memory: 8 << 30, Time: time.Hour}, "core-said": {Memory: 0, Time: 3 * time.Minute}}
	check := func(want ...string) {
		t.Helper()
		schedule.EstimateSteps(tree, all, schedule.Capacity{Hints: hints})
		for i, s := range all {
			if got := fmt.Sprint(s.Expected, s.Untimed, s.Memory>>30); got != want[i] {
				t.Errorf("%s: %s, want %s", s.Output.Ref, got, want[i])
			}
		}
	}
	check("1m0s false 8", "3m0s false 0", "2m0s true 0")
	// A build that used the engine's cache changes nothing, unless it took longer.
	r := &run{Tree: tree, outcomes: newOutcomes(nil, false)}
	r.recordTiming(all[0], time.Second, &buildkit.Image{Cached: true})
	r.recordTiming(all[2], 2*time.Second, &buildkit.Image{})
	check("1m0s false 8", "3m0s false 0", "2s false 0")
	delete(hints, "core-known")
	check("1m0s false 8", "3m0s false 0", "2s false 0")
	hints["core-x"] = schedule.Hint{Memory: 1 << 30, Time: time.Minute}
	all[1].Output.Definition = &graph.Definition{Stage: "core", Name: "x"}
	check("1m0s false 8", "3m0s false 1", "2s false 0")
}
