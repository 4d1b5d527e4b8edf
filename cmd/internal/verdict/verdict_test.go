package verdict

import "testing"

func TestVerdictString(t *testing.T) {
	for _, tt := range []struct {
		v      Verdict
		want   string
		proven bool
	}{
		{Verdict{Word: Match}, "MATCH", true},
		{Verdict{Word: Match, Given: 1}, "MATCH given 1 unproven input", false},
		{Verdict{Word: Match, Given: 7}, "MATCH given 7 unproven inputs", false},
		{Verdict{Word: Match, Engine: "docker"}, "MATCH (on docker)", true},
		{Verdict{Word: Match, Engine: "docker", Given: 2}, "MATCH (on docker) given 2 unproven inputs", false},
		{Verdict{Word: Changed, Given: 3}, "CHANGED", false},
		{Verdict{Word: Missing}, "MISSING", false},
	} {
		if got := tt.v.String(); got != tt.want || tt.v.Full() != tt.proven {
			t.Errorf("%+v is %q, full %v; want %q, full %v", tt.v, got, tt.v.Full(), tt.want, tt.proven)
		}
	}
}
