package main

import (
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/build"
)

// Who reads the last line only must not take what was built elsewhere for proven here.
func TestSummary(t *testing.T) {
	here := build.Verdict{Word: build.Match}
	given := build.Verdict{Word: build.Match, Given: 2}
	docker := build.Verdict{Word: build.Match, Engine: "docker"}
	cached := build.Verdict{Word: build.Match, Engine: "ssh", Given: 1, Cached: true}
	differs := build.Verdict{Word: build.Mismatch, Engine: "tcp"}
	for _, c := range []struct {
		vs   []build.Verdict
		want string
	}{
		{nil, "0 outputs: nothing was compared\n"},
		{[]build.Verdict{here}, "1 output: 1 MATCH\n"},
		{[]build.Verdict{here, given}, "2 outputs: 2 MATCH (1 of them given unproven inputs)\n"},
		{[]build.Verdict{here, docker}, "2 outputs: 2 MATCH (1 of them on docker)\n"},
		{[]build.Verdict{docker, cached, differs}, "3 outputs: 2 MATCH (2 of them on docker, ssh; 1 of them given unproven inputs; " +
			"the cache of an engine elsewhere counts as one for each output built on it: --no-cache builds without), 1 MISMATCH\n"},
	} {
		var got strings.Builder
		summarise(&got, c.vs)
		if got.String() != c.want {
			t.Errorf("got %q, want %q", got.String(), c.want)
		}
	}
}
