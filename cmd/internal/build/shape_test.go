package build

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

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

// shapedSteps is a plan of everything in a graph of that shape: as many
// definitions on each level, as many dependencies of each; on whom, the dice say,
// the more likely the more depend on it already, as a few do on nearly all.
func shapedSteps() []*Step {
	r := rand.New(rand.NewPCG(2026, 3))
	var all [][]*Step // of each definition
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
	family(steps)
	return steps
}

// copies is a plan of n graphs like that of all.
func copies(all []*Step, n int) []*Step {
	var out []*Step
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
			out = append(out, &Step{Action: s.Action, Output: &o, Expected: time.Minute})
		}
	}
	family(out)
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

func shapedDefinition(i int, deps []graph.Ref) []*Step {
	slices.SortFunc(deps, graph.Ref.Compare)
	d := &graph.Definition{Stage: "core", Name: fmt.Sprintf("d%03d", i)}
	outputs := 1
	if i > 60 && i%45 == 0 && i/45-2 < len(families) {
		outputs = families[i/45-2]
	}
	var steps []*Step
	for m := range outputs {
		ref := graph.Ref{Stage: "core", Name: fmt.Sprintf("d%03d-%02d", i, m)}
		steps = append(steps, &Step{Action: ActionBuild, Output: &graph.Output{Ref: ref, Definition: d, Deps: deps}})
	}
	return steps
}

// treeSteps is a plan of everything in the StageX checkout that SX_TEST_TREE
// names, or in a graph of that shape where it names none.
func treeSteps(tb testing.TB) []*Step {
	tb.Helper()
	dir := os.Getenv("SX_TEST_TREE")
	if dir == "" {
		return shapedSteps()
	}
	g, err := LoadGraph(tb.Context(), dir, TreeOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	var steps []*Step
	for _, o := range g.Order(g.All()) {
		steps = append(steps, &Step{Output: o, Action: ActionBuild})
	}
	family(steps)
	return steps
}
