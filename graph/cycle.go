package graph

import "slices"

// cycles returns, for each knot of outputs that depend on one another, the
// shortest way from its first output back to it. None means that there is an
// order to build in.
func (g *Graph) cycles() [][]Ref {
	var cycles [][]Ref
	for _, knot := range g.knots() {
		slices.SortFunc(knot, Ref.Compare)
		if len(knot) > 1 || slices.Contains(g.depsOf(knot[0]), knot[0]) {
			cycles = append(cycles, g.shortestCycle(knot))
		}
	}
	slices.SortFunc(cycles, func(a, b []Ref) int { return a[0].Compare(b[0]) })
	return cycles
}

// knots are the strongly connected components.
//
// Source: R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
func (g *Graph) knots() [][]Ref {
	var knots [][]Ref
	var stack []Ref
	number := make(map[Ref]int, len(g.outputs)) // order of arrival, from 1
	lowest := make(map[Ref]int, len(g.outputs)) // reachable without leaving the stack
	onStack := make(map[Ref]bool, len(g.outputs))
	var visit func(Ref)
	visit = func(r Ref) {
		number[r] = len(number) + 1
		lowest[r] = number[r]
		stack = append(stack, r)
		onStack[r] = true
		for _, dep := range g.depsOf(r) {
			if number[dep] == 0 {
				visit(dep)
				lowest[r] = min(lowest[r], lowest[dep])
			} else if onStack[dep] {
				lowest[r] = min(lowest[r], number[dep])
			}
		}
		if lowest[r] != number[r] {
			return
		}
		i := len(stack) - 1
		for ; stack[i] != r; i-- {
			onStack[stack[i]] = false
		}
		onStack[r] = false
		knots = append(knots, slices.Clone(stack[i:]))
		stack = stack[:i]
	}
	for _, o := range g.outputs {
		if number[o.Ref] == 0 {
			visit(o.Ref)
		}
	}
	return knots
}

// depsOf leaves out what is no output, which is an error of its own.
func (g *Graph) depsOf(r Ref) []Ref {
	if o := g.index[r]; o != nil {
		return o.Deps
	}
	return nil
}

// shortestCycle searches breadth first within the knot from its first output.
func (g *Graph) shortestCycle(knot []Ref) []Ref {
	start := knot[0]
	inside := make(map[Ref]bool, len(knot))
	for _, r := range knot {
		inside[r] = true
	}
	cameFrom := map[Ref]Ref{}
	for queue := []Ref{start}; ; queue = queue[1:] {
		for _, dep := range g.depsOf(queue[0]) {
			if _, seen := cameFrom[dep]; seen || !inside[dep] {
				continue
			}
			cameFrom[dep] = queue[0]
			if dep == start {
				return traceBack(cameFrom, start)
			}
			queue = append(queue, dep)
		}
	}
}

func traceBack(cameFrom map[Ref]Ref, start Ref) []Ref {
	path := []Ref{start}
	for r := cameFrom[start]; r != start; r = cameFrom[r] {
		path = append(path, r)
	}
	path = append(path, start)
	slices.Reverse(path)
	return path
}
