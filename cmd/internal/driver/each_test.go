package driver

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
)

// What several engines build with one result is evidence of each, and is not built again.
func TestOnEach(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b")
	a, b := &place{}, &place{}
	report, _, err := buildOn(t, p, Options{OnEach: true, NoCache: true}, a, b)
	wantEach(t, report, err, plan.Built, 3)
	if len(a.built) != 3 || !slices.Equal(a.built, b.built) {
		t.Errorf("built %v and %v", a.built, b.built)
	}
	each := " MATCH (on each of tcp://e0:1, tcp://e1:1)"
	published := cache.Published{}
	for _, r := range report.Results {
		published[r.Ref.String()] = r.Digest
	}
	p.must(p.open().Store.WriteDigests(published))
	p.wantWords(nil, "a"+each, "b"+each, "c"+each)
	report, _, err = buildOn(t, p, Options{OnEach: true}, &place{}, &place{})
	wantEach(t, report, err, plan.Built, 0)
	report, _, err = buildOn(t, p, Options{OnEach: true}, &place{}, &place{}, &place{})
	wantEach(t, report, err, plan.Built, 3)
	if reason := report.Plan.Steps[0].Reason; reason != "--on-each: e2 (tcp://e2:1) has not built it yet" {
		t.Error(reason)
	}
	report, _, err = buildOn(t, p, Options{OnEach: true}, &place{}, &place{})
	wantEach(t, report, err, plan.Built, 0)
}

func wantEach(t *testing.T, report *Report, err error, o plan.Outcome, n int) {
	t.Helper()
	if err != nil || report.Count(o) != n {
		t.Fatalf("%d %s, want %d: %v, %+v", report.Count(o), o, n, err, report.Results)
	}
}

// Of an output on which engines do not agree nothing gets into out/, and nothing is built
// from it. Both results are kept until it is built again.
func TestOnEachDiffers(t *testing.T) {
	p := newPretender(t, "a:", "b: a", "c: b", "d:")
	p.build("a", "a")
	p.buildOn("b", "as before", at("tcp://e0:1"))
	p.must(os.Remove(filepath.Join(p.dir, "out/core-b/oci-layout"))) // so that it must be built
	liar := &place{lies: "b"}
	report, _, err := buildOn(t, p, Options{OnEach: true, KeepGoing: true}, &place{}, liar)
	wantEach(t, report, err, plan.Built, 2) // a and d
	wantEach(t, report, err, plan.Skipped, 1)
	var differ *DifferError
	for _, r := range report.Results {
		errors.As(r.Err, &differ)
	}
	if differ == nil || differ.Ref.Name != "b" || len(differ.Results) != 2 {
		t.Fatalf("%+v", report.Results)
	}
	for i, r := range differ.Results {
		if _, err := os.Stat(filepath.Join(r.Path, "index.json")); err != nil || !strings.Contains(differ.Error(), r.Manifest.String()) {
			t.Errorf("%s: %v, %v", r.Path, err, differ)
		}
		if r.Engine.String() != []string{"e0 (tcp://e0:1)", "e1 (tcp://e1:1)"}[i] {
			t.Errorf("its engine is %s", r.Engine)
		}
	}
	if differ.Results[0].Manifest == differ.Results[1].Manifest {
		t.Error("the results are equal")
	}
	if rec, err := p.open().Store.Record("core-b"); err != nil || len(rec.Also) > 0 {
		t.Errorf("its record is now %+v, %v", rec, err)
	}
	report, _, err = buildOn(t, p, Options{OnEach: true}, &place{}, &place{})
	wantEach(t, report, err, plan.Built, 2) // b and c
	if _, err := os.Stat(differ.Results[0].Path); !os.IsNotExist(err) {
		t.Errorf("the results of the former build are still there: %v", err)
	}
}

// An engine that is lost is reached again, and the output is built on all of them anew; one
// with another probe cannot take part.
func TestOnEachNeedsAll(t *testing.T) {
	quickPauses(t)
	p := newPretender(t, "a:", "b: a")
	report, _, err := buildOn(t, p, Options{OnEach: true}, &place{dies: 2}, &place{})
	wantEach(t, report, err, plan.Built, 2)
	_, _, err = buildOn(t, p, Options{OnEach: true, Rebuild: true}, &place{probe: "other"}, &place{})
	if !errors.As(err, new(*OtherProbeError)) {
		t.Errorf("another probe: %v", err)
	}
	absent := &buildkit.EngineError{Engine: "x", Problem: "nothing listens there", Remedy: "start it"}
	_, _, err = buildOn(t, p, Options{OnEach: true, Rebuild: true}, &place{absent: absent}, &place{})
	if !errors.As(err, new(*buildkit.EngineError)) {
		t.Errorf("an absent engine: %v", err)
	}
}
