package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/graph"
)

func output(stage, name, definition string) *graph.Output {
	return &graph.Output{Ref: graph.Ref{Stage: stage, Name: name}, Definition: &graph.Definition{Stage: stage, Name: definition}}
}

// The longest pattern counts. A binding by platform is about where a build runs, not about
// what it is for; without a binding an engine's platforms are.
func TestMay(t *testing.T) {
	amd, arm := Member{Name: "amd", Platforms: []string{"linux/amd64"}, Labels: []string{"fast"}}, Member{Name: "arm", Platforms: []string{"linux/arm64"}}
	any := Member{Name: "any"}
	bindings := Bindings{{"bootstrap-*", []string{"linux/amd64"}}, {"bootstrap-stage3", []string{"arm"}}, {"core-*", []string{"fast", "any"}}}
	for _, tt := range []struct {
		output   *graph.Output
		platform string
		want     []string
	}{
		{output("bootstrap", "stage1", "stage1"), "linux/arm64", []string{"amd"}},
		{output("bootstrap", "stage3", "stage3"), "linux/amd64", []string{"arm"}},
		{output("core", "go", "go"), "linux/amd64", []string{"amd", "any"}},
		{output("core", "llvm-rt", "llvm"), "linux/arm64", []string{"amd", "any"}},
		{output("user", "curl", "curl"), "linux/arm64", []string{"arm", "any"}},
		{output("user", "curl", "curl"), "linux/riscv64", []string{"any"}},
	} {
		var got []string
		for _, m := range []Member{amd, arm, any} {
			if bindings.May(tt.output, []string{tt.platform}, m) {
				got = append(got, m.Name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s for %s: %v, want %v", tt.output.Ref, tt.platform, got, tt.want)
		}
	}
}

// What an engine has does not move, and what it lacks moves as fast as was measured.
func TestInventory(t *testing.T) {
	i := NewInventory(2)
	sizes := map[string]int64{"a": 125e6, "b": 250e6}
	if got := i.Move(0, sizes); got != 3*time.Second {
		t.Errorf("unmeasured: %s", got)
	}
	i.Has(0, "b")
	i.Measured(0, 50e6, time.Second)
	i.Measured(0, 1000, time.Second) // idle
	if got := i.Move(0, sizes); got != 2500*time.Millisecond {
		t.Errorf("measured: %s", got)
	}
	i.Free(1)
	if got := i.Move(1, sizes); got != 0 {
		t.Errorf("on this machine: %s", got)
	}
}

type pool struct{ n int }

func (pool) Kind() string                                    { return "pool" }
func (pool) Connect(context.Context) (*buildkit.Conn, error) { return nil, nil }
func (p pool) Machines(width int) (all []buildkit.Engine) {
	for range min(p.n, width) {
		all = append(all, pool{})
	}
	return all
}

// A pool has as many machines as builds can run at once, and at least one.
func TestMachines(t *testing.T) {
	members := []Member{{Name: "one", Engine: engine{}}, {Name: "many", Jobs: 2, Engine: pool{4}}}
	for width, want := range map[int]int{0: 2, 1: 2, 3: 4, 9: 5} {
		got := Machines(members, width)
		if len(got) != want || got[len(got)-1].Jobs != 2 {
			t.Errorf("width %d: %d machines, want %d", width, len(got), want)
		}
	}
}

type engine struct{}

func (engine) Kind() string                                    { return "tcp" }
func (engine) Connect(context.Context) (*buildkit.Conn, error) { return nil, nil }
