package plantest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// The shape of StageX 2026.03.0, in definitions.
var (
	// levels is how many have a longest chain of so many below them.
	levels = []int{2, 1, 1, 1, 1, 6, 2, 2, 1, 3, 4, 2, 1, 1, 33, 13, 26, 14, 16, 8, 5, 8, 9, 45, 90, 58, 37, 23, 9, 5, 3, 4, 6, 2, 1}
	// needs is how many depend on so many others.
	needs = []int{2, 4, 137, 50, 38, 26, 19, 16, 18, 33, 22, 13, 14, 9, 11, 7, 4, 2, 2, 4, 3, 3, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	// families is how many outputs those have that have several.
	families = []int{31, 25, 7, 5, 3, 3, 2, 2}
)

// ShapedSteps returns a plan that builds everything in a random graph of that shape:
// as many definitions on each level, with as many dependencies each. The more
// dependents a definition has, the more likely it gets another, as in StageX a few
// have nearly all.
func ShapedSteps() []*plan.Step {
	r := rand.New(rand.NewPCG(2026, 3))
	var all [][]*plan.Step // of each definition
	var weight []int
	var wants []int
	for n, count := range needs {
		for range count {
			wants = append(wants, n)
		}
	}
	r.Shuffle(len(wants), func(i, j int) { wants[i], wants[j] = wants[j], wants[i] })
	below := 0 // where the level below begins
	for level, size := range levels {
		begin := len(all)
		for range size {
			var deps []int
			if level > 0 {
				deps = append(deps, pick(r, weight, below, begin))
			}
			for n := min(wants[len(all)], begin); len(deps) < n; {
				if d := pick(r, weight, 0, begin); !slices.Contains(deps, d) {
					deps = append(deps, d)
				}
			}
			var refs []graph.Ref
			for _, d := range deps {
				weight[d] += 3
				refs = append(refs, all[d][r.IntN(len(all[d]))].Output.Ref)
			}
			weight = append(weight, 1)
			all = append(all, shapedDefinition(len(all), refs))
		}
		below = begin
	}
	steps := slices.Concat(all...)
	plan.Family(steps)
	return steps
}

// Copies returns a plan of n graphs like that of all.
func Copies(all []*plan.Step, n int) []*plan.Step {
	var out []*plan.Step
	for i := range n {
		rename := func(r graph.Ref) graph.Ref { return graph.Ref{Stage: r.Stage, Name: fmt.Sprintf("%s-%d", r.Name, i)} }
		definitions := map[*graph.Definition]*graph.Definition{}
		for _, s := range all {
			o := *s.Output
			if definitions[o.Definition] == nil {
				definitions[o.Definition] = &graph.Definition{}
			}
			o.Definition = definitions[o.Definition]
			o.Ref, o.Deps = rename(o.Ref), nil
			for _, d := range s.Output.Deps {
				o.Deps = append(o.Deps, rename(d))
			}
			out = append(out, &plan.Step{Action: s.Action, Output: &o, Expected: time.Minute})
		}
	}
	plan.Family(out)
	return out
}

// pick returns one of from … to-1 by weight.
func pick(r *rand.Rand, weight []int, from, to int) int {
	sum := 0
	for _, w := range weight[from:to] {
		sum += w
	}
	at := r.IntN(sum)
	for i := from; ; i++ {
		if at -= weight[i]; at < 0 {
			return i
		}
	}
}

func shapedDefinition(i int, deps []graph.Ref) []*plan.Step {
	slices.SortFunc(deps, graph.Ref.Compare)
	d := &graph.Definition{Stage: "core", Name: fmt.Sprintf("d%03d", i)}
	outputs := 1
	if i > 60 && i%45 == 0 && i/45-2 < len(families) {
		outputs = families[i/45-2]
	}
	var steps []*plan.Step
	for m := range outputs {
		ref := graph.Ref{Stage: "core", Name: fmt.Sprintf("d%03d-%02d", i, m)}
		steps = append(steps, &plan.Step{Action: plan.ActionBuild, Output: &graph.Output{Ref: ref, Definition: d, Deps: deps}})
	}
	return steps
}

// TreeSteps returns a plan that builds everything in the StageX checkout that
// SX_TEST_TREE names, or without one in a graph of that shape.
func TreeSteps(tb testing.TB) []*plan.Step {
	tb.Helper()
	dir := os.Getenv("SX_TEST_TREE")
	if dir == "" {
		return ShapedSteps()
	}
	g, err := tree.LoadGraph(tb.Context(), dir, tree.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	var steps []*plan.Step
	for _, o := range g.Order(g.All()) {
		steps = append(steps, &plan.Step{Output: o, Action: plan.ActionBuild})
	}
	plan.Family(steps)
	return steps
}

// Steps reads lines such as "a: b c": a depends on b and c. Dependencies come before
// dependents, as in a plan. A name after "-" is up to date.
func Steps(t *testing.T, text string) []*plan.Step {
	t.Helper()
	var out []*plan.Step
	for line := range strings.Lines(text) {
		name, deps, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		s := &plan.Step{Action: plan.ActionBuild, Output: &graph.Output{}, Expected: time.Second}
		if bare, done := strings.CutPrefix(name, "-"); done {
			s.Action, name = plan.ActionNone, bare
		}
		s.Output.Ref = graph.Ref{Stage: "core", Name: name}
		for _, d := range strings.Fields(deps) {
			s.Output.Deps = append(s.Output.Deps, graph.Ref{Stage: "core", Name: d})
		}
		out = append(out, s)
	}
	return out
}

func FamilyOf(t *testing.T, text string) []*plan.Step {
	t.Helper()
	all := Steps(t, text)
	definitions := map[string]*graph.Definition{}
	for _, s := range all {
		origin, _, _ := strings.Cut(s.Output.Ref.Name, ".")
		if definitions[origin] == nil {
			definitions[origin] = &graph.Definition{Name: origin}
		}
		s.Output.Definition = definitions[origin]
	}
	plan.Family(all)
	return all
}

func EmptyTree(t *testing.T) *tree.Tree {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "packages/core"), 0o755); err != nil {
		t.Fatal(err)
	}
	v, err := tree.Open(t.Context(), dir, tree.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v.Tree
}
