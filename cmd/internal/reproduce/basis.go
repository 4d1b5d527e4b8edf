package reproduce

import (
	"slices"

	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// Basis says what verdicts on reproduced outputs rest on.
type Basis struct {
	Closure []graph.Ref // of the outputs that are judged, themselves among them; sorted
	// Open are the outputs of Closure that are not MATCH: neither from these verdicts nor
	// without conditions. If there are none, the closure is proven by induction.
	Open []graph.Ref
	// Engines are the engines elsewhere that something in Closure rests on, sorted by name:
	// what they say is their word.
	Engines []verdict.Engine
}

// NewBasis finds what verdicts on refs rest on. all are the verdicts on their closure.
func NewBasis(g *graph.Graph, refs []graph.Ref, all []verdict.Verdict) Basis {
	b := Basis{Closure: g.Closure(refs)}
	proven := map[graph.Ref]bool{}
	for _, v := range all {
		// A condition is about outputs below, which are open themselves.
		proven[v.Ref] = v.Word == verdict.Match && !v.Cached
	}
	b.Engines = verdict.EnginesOf(all)
	b.Open = slices.DeleteFunc(slices.Clone(b.Closure), func(r graph.Ref) bool { return proven[r] })
	return b
}
