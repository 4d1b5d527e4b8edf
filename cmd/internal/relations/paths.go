package relations

import (
	"container/heap"
	"math/big"

	"codeberg.org/stagex/sx/graph"
)

// Paths returns at most limit paths over dependencies from one output to another, both
// ends included, the shortest first and equally long ones in the order of their refs,
// and how many there are. It returns none if from does not depend on to; to an output
// itself there is one path, of one output.
func Paths(g *graph.Graph, from, to graph.Ref, limit int) (paths [][]graph.Ref, count *big.Int) {
	d := measure(g, from, to)
	if _, ok := d.steps[from]; !ok {
		return nil, new(big.Int)
	}
	queue := &partialPaths{}
	heap.Push(queue, d.partial([]graph.Ref{from}))
	for queue.Len() > 0 && len(paths) < limit {
		p := heap.Pop(queue).(partialPath)
		last := p.refs[len(p.refs)-1]
		if last == to {
			paths = append(paths, p.refs)
			continue
		}
		for _, n := range g.Output(last).Deps {
			if _, leads := d.steps[n]; leads {
				refs := append(p.refs[:len(p.refs):len(p.refs)], n)
				heap.Push(queue, d.partial(refs))
			}
		}
	}
	return paths, d.count[from]
}

// distances are those of the outputs from which dependencies lead to one output.
type distances struct {
	steps map[graph.Ref]int      // the fewest that lead there
	count map[graph.Ref]*big.Int // of the paths that lead there
}

// measure returns the distances to to of the outputs in the closure of from.
func measure(g *graph.Graph, from, to graph.Ref) distances {
	d := distances{map[graph.Ref]int{to: 0}, map[graph.Ref]*big.Int{to: big.NewInt(1)}}
	for _, o := range g.Order([]graph.Ref{from}) { // dependencies come first
		if o.Ref == to {
			continue
		}
		for _, dep := range o.Deps {
			steps, leads := d.steps[dep]
			if !leads {
				continue
			}
			if best, ok := d.steps[o.Ref]; !ok || steps+1 < best {
				d.steps[o.Ref] = steps + 1
			}
			if d.count[o.Ref] == nil {
				d.count[o.Ref] = new(big.Int)
			}
			d.count[o.Ref].Add(d.count[o.Ref], d.count[dep])
		}
	}
	return d
}

// partialPath begins at one end, and total is the length of the shortest path that
// begins so.
type partialPath struct {
	refs  []graph.Ref
	total int
}

func (d distances) partial(refs []graph.Ref) partialPath {
	return partialPath{refs, len(refs) + d.steps[refs[len(refs)-1]]}
}

// partialPaths is a heap of partial paths. Each leads to its end, so the queue holds at
// most as many as the paths that were taken from it have side branches.
type partialPaths []partialPath

func (p partialPaths) Len() int      { return len(p) }
func (p partialPaths) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *partialPaths) Push(x any)   { *p = append(*p, x.(partialPath)) }

func (p *partialPaths) Pop() any {
	old := *p
	last := old[len(old)-1]
	*p = old[:len(old)-1]
	return last
}

// Less orders by the length that a path will have, then by its refs.
func (p partialPaths) Less(i, j int) bool {
	if p[i].total != p[j].total {
		return p[i].total < p[j].total
	}
	a, b := p[i].refs, p[j].refs
	for k := range min(len(a), len(b)) {
		if c := a[k].Compare(b[k]); c != 0 {
			return c < 0
		}
	}
	return len(a) > len(b)
}
