package relations

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"

	"codeberg.org/stagex/sx/graph"
)

// Next returns the outputs one step away from an output, sorted.
type Next func(graph.Ref) []graph.Ref

// Dependencies steps from an output to its direct dependencies.
func Dependencies(g *graph.Graph) Next {
	return func(r graph.Ref) []graph.Ref {
		if o := g.Output(r); o != nil {
			return o.Deps
		}
		return nil
	}
}

// Dependents steps from an output to its direct dependents.
func Dependents(g *graph.Graph) Next { return g.Dependents }

// Reached is an output and the fewest steps that lead to it: 1 for a direct neighbour.
type Reached struct {
	Ref   graph.Ref `json:"ref"`
	Depth int       `json:"depth"`
}

// Reach returns what steps from any of from lead to, without from itself, the nearest
// first. With a depth above 0 it takes at most as many steps.
func Reach(from []graph.Ref, next Next, depth int) []Reached {
	seen := map[graph.Ref]bool{}
	for _, r := range from {
		seen[r] = true
	}
	var reached []Reached
	for level, at := 1, from; len(at) > 0 && (depth <= 0 || level <= depth); level++ {
		var after []graph.Ref
		for _, r := range at {
			for _, n := range next(r) {
				if !seen[n] {
					seen[n] = true
					after = append(after, n)
					reached = append(reached, Reached{n, level})
				}
			}
		}
		at = after
	}
	slices.SortFunc(reached, func(a, b Reached) int {
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), a.Ref.Compare(b.Ref))
	})
	return reached
}

// shownAbove marks an output whose own neighbours the tree shows further up.
const shownAbove = " (see above)"

// WriteTree writes a tree for each of from: below each output what one step leads to.
// The neighbours of an output are written once; the second time it is marked. With a
// depth above 0 the tree ends after as many steps.
func WriteTree(w io.Writer, from []graph.Ref, next Next, depth int) error {
	t := tree{w: bufio.NewWriter(w), next: next, shown: map[graph.Ref]int{}}
	if depth <= 0 {
		depth = int(^uint(0) >> 1)
	}
	for _, r := range from {
		t.write(r, "", "", depth)
	}
	return t.w.Flush()
}

type tree struct {
	w     *bufio.Writer
	next  Next
	shown map[graph.Ref]int // how many steps below an output were left when it was shown
}

// write writes r after first, and what it leads to after rest.
func (t *tree) write(r graph.Ref, first, rest string, left int) {
	below := t.next(r)
	mark := ""
	if t.shown[r] >= left && len(below) > 0 && left > 0 {
		mark, below = shownAbove, nil
	}
	fmt.Fprintf(t.w, "%s%s%s\n", first, r, mark)
	if left == 0 || below == nil {
		return
	}
	t.shown[r] = left
	for i, n := range below {
		if i == len(below)-1 {
			t.write(n, rest+"└── ", rest+"    ", left-1)
		} else {
			t.write(n, rest+"├── ", rest+"│   ", left-1)
		}
	}
}
