package reproduce

import (
	"slices"

	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// Taint tells own divergences from others in verdicts on outputs that were built from
// published images. Whatever a definition makes of an image that its own definition does
// not make says nothing of it: so a MISMATCH is tainted if a direct dependency is one,
// by the earliest divergences below.
func Taint(g *graph.Graph, vs []verdict.Verdict) {
	at := map[graph.Ref]*verdict.Verdict{}
	var refs []graph.Ref
	for i := range vs {
		at[vs[i].Ref] = &vs[i]
		refs = append(refs, vs[i].Ref)
	}
	for _, o := range g.Order(refs) {
		v := at[o.Ref]
		if v == nil || v.Word != verdict.Mismatch {
			continue
		}
		for _, d := range o.Deps {
			switch dep := at[d]; {
			case dep == nil || dep.Word != verdict.Mismatch:
			case dep.Own():
				v.Tainted = append(v.Tainted, d)
			default:
				v.Tainted = append(v.Tainted, dep.Tainted...)
			}
		}
		slices.SortFunc(v.Tainted, graph.Ref.Compare)
		v.Tainted = slices.Compact(v.Tainted)
	}
}
