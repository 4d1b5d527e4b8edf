package plan

import (
	"slices"

	"codeberg.org/stagex/sx/graph"
)

// Family finds the steps that run as one: those of one definition that will be
// built. They all need the same outputs, for an output's dependencies are what
// its whole Containerfile names; so no family can come to wait for itself,
// whatever the graph. A member of which that did not hold would run alone.
func Family(steps []*Step) {
	groups := map[*graph.Definition][]*Step{}
	for _, s := range steps {
		s.Family = nil
		d := s.Output.Definition
		if s.Action != ActionBuild || d == nil {
			continue
		}
		if g := groups[d]; g == nil || slices.Equal(g[0].Output.Deps, s.Output.Deps) {
			groups[d] = append(g, s)
		}
	}
	for _, members := range groups {
		if len(members) == 1 {
			continue
		}
		for _, s := range members {
			s.Family = members
		}
	}
}
