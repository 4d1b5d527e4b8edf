package graph

import "slices"

// findCycles returns the shortest cycle through the first output of each component of outputs
// that depend on one another. None means that there is an order to build in.
func findCycles(g *Graph) [][]Ref {
	var cycles [][]Ref
	for _, knot := range components(g.outputs) {
		slices.SortFunc(knot, Ref.Compare)
		cycles = append(cycles, shortestCycle(g, knot))
	}
	slices.SortFunc(cycles, func(a, b []Ref) int { return a[0].Compare(b[0]) })
	return cycles
}

// components returns the strongly connected components that contain a cycle.
//
// Source: R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
func components(outputs []*Output) [][]Ref {
	var knots [][]Ref
	var stack []*Output
	arrived := 0
	number := make([]int, len(outputs)) // order of arrival, from 1
	lowest := make([]int, len(outputs)) // reachable without leaving the stack
	onStack := make([]bool, len(outputs))
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
	for _, o := range outputs {
		if number[o.at] == 0 {
			visit(o)
		}
	}
	return knots
}

// shortestCycle searches the component breadth first from its first output.
func shortestCycle(g *Graph, knot []Ref) []Ref {
	start := knot[0]
	inside := make(map[Ref]bool, len(knot))
	for _, r := range knot {
		inside[r] = true
	}
	cameFrom := map[Ref]Ref{}
	for queue := []Ref{start}; ; queue = queue[1:] {
		for _, dep := range g.index[queue[0]].Deps {
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
