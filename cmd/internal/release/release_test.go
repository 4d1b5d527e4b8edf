package release

import (
	"errors"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

func TestNext(t *testing.T) {
	november := time.Date(2026, 11, 30, 23, 30, 0, 0, time.FixedZone("", 2*3600))
	for _, tt := range []struct{ tags, next, latest string }{
		{"", "2026.11.0", ""},
		{"2026.03.0", "2026.11.0", "2026.03.0"},
		{"2026.11.0 2026.03.1", "2026.11.1", "2026.11.0"},
		{"2026.11.9 2026.11.10 2026.11.2", "2026.11.11", "2026.11.10"},
		{"2027.01.0", "2027.01.1", "2027.01.0"}, // a clock was ahead, or this one is behind
		{"v1.0 2026.13.0 2026.11.01 2026.11 sx2026.11.5 2025.12.3", "2026.11.0", "2025.12.3"},
	} {
		next, latest := Next(strings.Fields(tt.tags), november)
		if next.String() != tt.next || latest != (Version{}) && latest.String() != tt.latest || latest == (Version{}) && tt.latest != "" {
			t.Errorf("Next(%q): %s after %s, want %s after %q", tt.tags, next, latest, tt.next, tt.latest)
		}
	}
	if v, _ := ParseVersion("2026.03.0"); v.Tag() != "sx2026.03.0" {
		t.Errorf("its tag is %s", v.Tag())
	}
}

func TestGate(t *testing.T) {
	v := func(name string, word verdict.Word, given int, engine string) verdict.Verdict {
		v := verdict.Verdict{Ref: graph.Ref{Stage: "core", Name: name}, Word: word, Given: given}
		if engine != "" {
			v.Engines = []verdict.Engine{{Name: engine, Kind: engine}}
		}
		return v
	}
	all := []verdict.Verdict{v("full", verdict.Match, 0, ""), v("given", verdict.Match, 2, ""), v("on", verdict.Match, 0, "tcp"), v("both", verdict.Match, 1, "ssh")}
	for _, tt := range []struct {
		accept  string
		refused string
	}{
		{"", "core-given core-on core-both"}, {"given", "core-on core-both"}, {"on", "core-given core-both"}, {"given on", ""},
	} {
		accept, err := ParseAccept(strings.Fields(tt.accept))
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := Gate(all, accept)
		var got []string
		if refused := (*publish.RefusedError)(nil); errors.As(err, &refused) {
			for _, r := range refused.Refusals {
				got = append(got, r.Ref.String())
			}
		}
		if strings.Join(got, " ") != tt.refused || tt.refused == "" && len(accepted) != 3 {
			t.Errorf("accepting %q: refused %v, accepted %d", tt.accept, got, len(accepted))
		}
	}
	for _, word := range []verdict.Word{verdict.Mismatch, verdict.Changed, verdict.Unproven, verdict.Missing, verdict.Unpublished} {
		if _, err := Gate([]verdict.Verdict{v("x", word, 0, "")}, Accept{AcceptGiven, AcceptOn}); err == nil {
			t.Errorf("%s is released", word)
		}
	}
	if _, err := ParseAccept([]string{"mismatch"}); err == nil {
		t.Error("a MISMATCH can be accepted")
	}
}
