package verdict

import (
	"strings"
	"testing"
)

func TestVerdictString(t *testing.T) {
	docker, big := Engine{Name: "docker", Kind: "docker"}, Engine{Name: "big", Kind: "tcp", Address: "tcp://a:1"}
	var many []Engine
	for _, name := range strings.Fields("a b c d e f g h i j") {
		many = append(many, Engine{Name: name})
	}
	for _, tt := range []struct {
		v      Verdict
		want   string
		proven bool
	}{
		{Verdict{Word: Match}, "MATCH", true},
		{Verdict{Word: Match, Given: 1}, "MATCH given 1 unproven input", false},
		{Verdict{Word: Match, Given: 7}, "MATCH given 7 unproven inputs", false},
		{Verdict{Word: Match, Engines: []Engine{docker}}, "MATCH (on docker)", true},
		{Verdict{Word: Match, Engines: []Engine{docker}, Given: 2}, "MATCH (on docker) given 2 unproven inputs", false},
		{Verdict{Word: Match, Engines: []Engine{big, docker}}, "MATCH (on big, docker)", true},
		{Verdict{Word: Match, Engines: []Engine{big, docker}, Each: []Engine{big, docker}}, "MATCH (on each of big, docker)", true},
		{Verdict{Word: Match, Engines: many}, "MATCH (on a, b, c, d, e, f, g, h and 2 more)", true},
		{Verdict{Word: Changed, Given: 3}, "CHANGED", false},
		{Verdict{Word: Missing}, "MISSING", false},
	} {
		if got := tt.v.String(); got != tt.want || tt.v.Full() != tt.proven {
			t.Errorf("%+v is %q, full %v; want %q, full %v", tt.v, got, tt.v.Full(), tt.want, tt.proven)
		}
	}
}
