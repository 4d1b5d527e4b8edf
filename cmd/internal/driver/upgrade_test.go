package driver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// notNow is an engine of another kind than that of the records, and does not start.
type notNow struct{ asked int }

var errNotNow = errors.New("not now")

func (*notNow) Kind() string { return "elsewhere" }

func (e *notNow) Connect(context.Context) (*buildkit.Conn, error) {
	e.asked++
	return nil, errNotNow
}

// warned receives only warnings.
type warned struct{ Status }

func (warned) Warn(string) {}

// TestNothingToDoStartsNoEngine checks that outputs with StageX's probe that another
// sx or another engine built are up to date without an engine. Before sx builds
// anything, it probes its own.
func TestNothingToDoStartsNoEngine(t *testing.T) {
	dir := rememberedTree(t)
	opts := tree.Options{KeyFile: filepath.Join(t.TempDir(), "key")}
	treeDir, err := tree.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	fakeBuild(t, treeDir.Tree, "another sx")
	hub := mostNeeded(treeDir.Tree)
	treeDir.Close()
	build := func(engine buildkit.Engine) (*Report, error) {
		tree, err := tree.Open(t.Context(), dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		return Build(t.Context(), tree, tree.Graph.All(), Options{Engines: []fleet.Member{{Engine: engine}}, Version: "this sx", Status: warned{}})
	}
	engine := &notNow{}
	report, err := build(engine)
	if err != nil || engine.asked > 0 || report.Plan.Count(plan.ActionNone) != len(report.Plan.Steps) {
		t.Errorf("the engine was asked %d times; %v", engine.asked, err)
	}
	data, err := os.ReadFile(hub)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, hub, "# edited\n"+string(data))
	if _, err := build(engine); !errors.Is(err, errNotNow) || engine.asked == 0 {
		t.Errorf("after an edit the engine was asked %d times; %v", engine.asked, err)
	}
}

// TestProbeIsOfOneEngine checks that an engine at another address does not inherit the probe
// of one of the same kind: what that one built of other bytes is built again.
func TestProbeIsOfOneEngine(t *testing.T) {
	p := newPretender(t, "base:", "top: base")
	other := cache.EngineInfo{Kind: "tcp", SX: "test", Probe: oci.DigestOf([]byte("other")).String()}
	for address, want := range map[string]int{"tcp://e0:1": 0, "tcp://elsewhere:1": 2} {
		other.Address = address
		for _, name := range []string{"base", "top"} {
			p.buildOn(name, name, other)
		}
		report, _, err := buildOn(t, p, Options{}, &place{}) // at tcp://e0:1
		wantBuilt(t, report, err, want)
	}
}
