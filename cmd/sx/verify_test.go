package main

import (
	"fmt"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// Who reads the last line only must not take what was built elsewhere for proven here.
func TestSummary(t *testing.T) {
	on := func(name, address string) verdict.Engine {
		return verdict.Engine{Name: name, Kind: "docker", Address: address}
	}
	here := verdict.Verdict{Word: verdict.Match}
	given := verdict.Verdict{Word: verdict.Match, Given: 2}
	docker := verdict.Verdict{Word: verdict.Match, Engines: []verdict.Engine{on("docker", "")}}
	cached := verdict.Verdict{Word: verdict.Match, Engines: []verdict.Engine{on("ssh", "")}, Given: 1, Cached: true}
	differs := verdict.Verdict{Word: verdict.Mismatch, Builders: []verdict.Engine{on("tcp", "")}}
	two := verdict.Verdict{Word: verdict.Match, Engines: []verdict.Engine{on("big", "tcp://a:1"), on("docker", "")}}
	for _, c := range []struct {
		vs   []verdict.Verdict
		want string
	}{
		{nil, "0 outputs: nothing was compared\n"},
		{[]verdict.Verdict{here}, "1 output: 1 MATCH\n"},
		{[]verdict.Verdict{here, given}, "2 outputs: 2 MATCH (1 of them given unproven inputs)\n"},
		{[]verdict.Verdict{here, docker}, "2 outputs: 2 MATCH (1 of them on docker)\n"},
		{[]verdict.Verdict{docker, here, two}, "3 outputs: 3 MATCH (2 of them on big (tcp://a:1), docker)\n"},
		{[]verdict.Verdict{docker, cached, differs}, "3 outputs: 2 MATCH (2 of them on docker, ssh; 1 of them given unproven inputs; " +
			"the cache of an engine elsewhere counts as one for each output built on it: --no-cache builds without it), 1 MISMATCH\n"},
	} {
		for i := range c.vs {
			c.vs[i].Ref = graph.Ref{Stage: "core", Name: fmt.Sprint(i)}
		}
		var got strings.Builder
		printCounts(&got, c.vs)
		if got.String() != c.want {
			t.Errorf("got %q, want %q", got.String(), c.want)
		}
	}
}
