package driver

import (
	"slices"
	"testing"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

func at(address string) cache.EngineInfo { return cache.EngineInfo{Kind: "tcp", Address: address} }

// TestEnginesOfAClosure checks that a MATCH names every engine elsewhere that its closure
// rests on, and that two addresses are two engines.
func TestEnginesOfAClosure(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b", "d:")
	p.published("a", "b", "c", "d")
	p.buildOn("a", "a", at("tcp://a:1"))
	p.wantWords(nil, "a MATCH (on tcp)", "b MATCH (on tcp)", "c MATCH (on tcp)", "d MATCH")
	p.buildOn("b", "b", at("tcp://b:1"))
	p.buildOn("d", "d", cache.EngineInfo{Kind: "podman", Address: "podman"})
	p.wantWords(nil, "a MATCH (on tcp://a:1)", "b MATCH (on tcp://a:1, tcp://b:1)", "c MATCH (on tcp://a:1, tcp://b:1)", "d MATCH (on podman)")
	p.buildOn("d", "d", cache.EngineInfo{Kind: "podman"}) // which has no address to record
	p.wantWords(nil, "a MATCH (on tcp://a:1)", "b MATCH (on tcp://a:1, tcp://b:1)", "c MATCH (on tcp://a:1, tcp://b:1)", "d MATCH (on podman)")
	p.build("a", "a") // here
	p.wantWords(nil, "a MATCH", "b MATCH (on tcp)", "c MATCH (on tcp)", "d MATCH (on podman)")
}

// TestNamesOfEngines checks that a verdict has the user's name of an engine only for as long
// as the name is of that address.
func TestNamesOfEngines(t *testing.T) {
	p := newPretender(t, "a:", "b: a")
	p.published("a", "b")
	named := func(name, address string) cache.EngineInfo {
		return cache.EngineInfo{Kind: "tcp", Name: name, Address: address}
	}
	p.buildOn("a", "a", named("big", "tcp://a:1"))
	p.buildOn("b", "b", named("small", "tcp://b:1"))
	p.engines = []cache.EngineInfo{named("big", "tcp://a:1"), named("small", "tcp://b:1"), named("spare", "tcp://a:1")}
	p.wantWords(nil, "a MATCH (on big)", "b MATCH (on big, small)")
	p.engines = []cache.EngineInfo{named("big", "tcp://c:1"), named("small", "tcp://b:1")}
	p.wantWords(nil, "a MATCH (on tcp://a:1)", "b MATCH (on small, tcp://a:1)")
	p.engines = nil
	p.buildOn("b", "b", named("big", "tcp://a:1"))
	p.wantWords(nil, "a MATCH (on tcp)", "b MATCH (on tcp)")
	p.engines = []cache.EngineInfo{at("tcp://c:1")} // the only one that the user can mean by tcp
	p.wantWords(nil, "a MATCH (on tcp://a:1)", "b MATCH (on tcp://a:1)")
	p.engines = []cache.EngineInfo{{Kind: "ssh", Name: "tcp", Address: "ssh://x"}}
	p.wantWords(nil, "a MATCH (on tcp://a:1)", "b MATCH (on tcp://a:1)")
}

// TestRecordsWithoutAddress checks that a record of before addresses were recorded counts for
// no engine that has one.
func TestRecordsWithoutAddress(t *testing.T) {
	p := newPretender(t, "a:", "b: a")
	p.published("a", "b")
	p.buildOn("a", "a", at(""))
	p.buildOn("b", "b", at(""))
	p.wantWords(nil, "a MATCH (on tcp)", "b MATCH (on tcp)")
	p.buildOn("b", "b", at("tcp://a:1"))
	p.wantWords(nil, "a MATCH (on tcp at an unknown address)", "b MATCH (on tcp at an unknown address, tcp://a:1)")
}

// TestConditionsElsewhere checks that the cache of an engine elsewhere and another probe
// count as they did, whichever engine builds the dependents.
func TestConditionsElsewhere(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b")
	p.published("a", "b", "c")
	p.cached = true
	p.buildOn("a", "a", at("tcp://a:1"))
	p.cached = false
	p.buildOn("b", "b", at("tcp://b:1"))
	p.wantWords(nil, "a MATCH (on tcp://a:1) given 1 unproven input",
		"b MATCH (on tcp://a:1, tcp://b:1) given 1 unproven input", "c MATCH (on tcp://a:1, tcp://b:1) given 1 unproven input")
	p.buildOn("b", "b", cache.EngineInfo{Kind: "tcp", Address: "tcp://b:1", Probe: "sha256:0"})
	p.wantWords(nil, "a MATCH (on tcp://a:1) given 1 unproven input", "b UNPROVEN", "c MATCH (on tcp://a:1, tcp://b:1) given 2 unproven inputs")
}

// TestBuiltOnEach checks what outputs prove that several engines built with one result.
func TestBuiltOnEach(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b")
	p.published("a", "b", "c")
	one, two, here := at("tcp://a:1"), at("tcp://b:1"), cache.EngineInfo{Kind: "embedded"}
	p.buildOn("a", "a", one, two)
	p.buildOn("b", "b", two, one)
	p.buildOn("c", "c", one)
	p.wantWords(nil, "a MATCH (on each of tcp://a:1, tcp://b:1)", "b MATCH (on each of tcp://a:1, tcp://b:1)", "c MATCH (on tcp://a:1, tcp://b:1)")
	p.buildOn("a", "a", one, here)
	p.buildOn("b", "b", here, one)
	p.wantWords(nil, "a MATCH (on each of embedded, tcp)", "b MATCH (on each of embedded, tcp)", "c MATCH (on tcp)")
	v := (&verdict.Judge{View: p.open()}).All(p.open().Graph.All())[1]
	if len(v.Engines) > 0 || len(v.Builders) > 0 || !v.Full() {
		t.Errorf("what the embedded engine built too rests on %v, built on %v", v.Engines, v.Builders)
	}
	p.buildOn("b", "b", two, one)
	p.buildOn("c", "other", one)
	v = (&verdict.Judge{View: p.open()}).All(p.open().Graph.All())[2]
	if v.Word != verdict.Mismatch || !slices.Equal(v.Builders, []verdict.Engine{{Name: "tcp://a:1", Kind: "tcp", Address: "tcp://a:1"}}) {
		t.Errorf("%s, built on %v", v, v.Builders)
	}
}
