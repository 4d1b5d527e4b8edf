package graph

import "slices"

// cycles returns the shortest cycle through the first output of each component of outputs
// that depend on one another. None means that there is an order to build in.
func (g *Graph) cycles() [][]Ref {
	var cycles [][]Ref
	for _, knot := range g.components() {
		slices.SortFunc(knot, Ref.Compare)
		cycles = append(cycles, g.shortestCycle(knot))
	}
	slices.SortFunc(cycles, func(a, b []Ref) int { return a[0].Compare(b[0]) })
	return cycles
}

// components returns the strongly connected components that contain a cycle.
//
// Source: R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
func (g *Graph) components() [][]Ref {
	var knots [][]Ref
	var stack []*Output
	arrived := 0
	number := make([]int, len(g.outputs)) // order of arrival, from 1
	lowest := make([]int, len(g.outputs)) // reachable without leaving the stack
	onStack := make([]bool, len(g.outputs))
	var visit func(*Output)
	visit = func(o *Output) {
		arrived++
		number[o.at], lowest[o.at] = arrived, arrived
		stack = append(stack, o)
		onStack[o.at] = true
		for _, dep := range o.deps {
			if number[dep.at] == 0 {
				visit(dep)
				lowest[o.at] = min(lowest[o.at], lowest[dep.at])
			} else if onStack[dep.at] {
				lowest[o.at] = min(lowest[o.at], number[dep.at])
			}
		}
		if lowest[o.at] != number[o.at] {
			return
		}
		i := len(stack) - 1
		for ; stack[i] != o; i-- {
			onStack[stack[i].at] = false
		}
		onStack[o.at] = false
		if knot := stack[i:]; len(knot) > 1 || slices.Contains(o.deps, o) {
			knots = append(knots, refsOf(knot))
		}
		stack = stack[:i]
	}
	for _, o := range g.outputs {
		if number[o.at] == 0 {
			visit(o)
		}
	}
	return knots
}

// depsOf leaves out dependencies that are not outputs; these are an error of their own.
func (g *Graph) depsOf(r Ref) []Ref {
	if o := g.index[r]; o != nil {
		return o.Deps
	}
	return nil
}

// shortestCycle searches the component breadth first from its first output.
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
