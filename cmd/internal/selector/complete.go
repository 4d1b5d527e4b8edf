package selector

import (
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// Outputs returns the names of single outputs that begin with what was typed, in the form
// that it has: "core-rust", "core/rust", "out/core-rust" or "stagex/core-rust".
func Outputs(g *graph.Graph, begun string) []string {
	lead := leadOf(begun)
	var like []string
	for _, ref := range g.All() {
		name := lead + ref.String()
		if lead == "" && strings.Contains(begun, "/") {
			name = ref.Stage + "/" + ref.Name
		}
		if strings.HasPrefix(name, begun) {
			like = append(like, name)
		}
	}
	return like
}

// leadOf returns what stands before an output's name in other forms of it.
func leadOf(begun string) string {
	for _, lead := range []string{"out/", "stagex/", "docker.io/stagex/", "quay.io/stagex/"} {
		if strings.HasPrefix(begun, lead) {
			return lead
		}
	}
	return ""
}

// Selectors returns the selectors that begin with what was typed: those of Outputs, stages,
// the folders of definitions ("core/llvm", "packages/core/llvm"), and once a letter was
// typed the names that outputs of any stage have.
func Selectors(g *graph.Graph, begun string) []string {
	like := Outputs(g, begun)
	offer := func(name string) {
		if strings.HasPrefix(name, begun) {
			like = append(like, name)
		}
	}
	for _, stage := range graph.Stages {
		offer(stage)
	}
	if strings.Contains(begun, "/") {
		for _, d := range g.Definitions() {
			offer(d.Stage + "/" + d.Name)
			offer("packages/" + d.Stage + "/" + d.Name)
		}
	} else if begun != "" {
		for _, ref := range g.All() {
			offer(ref.Name)
		}
	}
	slices.Sort(like)
	return slices.Compact(like)
}
