package driver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/publish"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// pretender is a tree whose outputs are not built: build leaves the layout and the
// record of a build whose layer is a text.
type pretender struct {
	t   *testing.T
	dir string

	engines []cache.EngineInfo // of the user's settings
	cached  bool               // builds may use the engine's cache
	hub     *Hub               // of plans
}

// newPretender makes outputs of stage core. In "b: a", b depends on a.
func newPretender(t *testing.T, outputs ...string) *pretender {
	t.Helper()
	p := &pretender{t: t, dir: t.TempDir()}
	for _, line := range outputs {
		name, deps, _ := strings.Cut(line, ":")
		p.write("core/"+name+"/package.toml", fmt.Sprintf("[package]\nname = %q\n", name))
		file := "FROM scratch\nCOPY . /\n"
		for _, dep := range strings.Fields(deps) {
			file += "COPY --from=stagex/core-" + dep + " / /\n"
		}
		p.write("core/"+name+"/Containerfile", file)
	}
	return p
}

func (p *pretender) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pretender) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, "packages", name)
	p.must(os.MkdirAll(filepath.Dir(path), 0o755))
	p.must(os.WriteFile(path, []byte(text), 0o644))
}

func (p *pretender) open() *tree.View {
	p.t.Helper()
	tree, err := tree.Open(p.t.Context(), p.dir, tree.Options{
		KeyFile: filepath.Join(p.dir, "key"), Engines: func() []cache.EngineInfo { return p.engines },
	})
	p.must(err)
	p.t.Cleanup(func() { tree.Close() })
	return tree
}

// build pretends to build core-<name> with that layer.
func (p *pretender) build(name, layer string) {
	p.t.Helper()
	p.buildOn(name, layer, cache.EngineInfo{Kind: "embedded", Address: "embedded"})
}

// buildOn is build on engines, without a cache: all have the same result.
func (p *pretender) buildOn(name, layer string, engines ...cache.EngineInfo) {
	p.t.Helper()
	for i := range engines {
		if engines[i].Probe == "" {
			engines[i].Probe = buildkit.ProbeDigest
		}
	}
	tree := p.open()
	o := tree.Graph.Output(graph.Ref{Stage: "core", Name: name})
	l := p.layout(tree, o.Ref.String(), layer)
	rec := cache.Record{
		Output: o.Ref.String(), Origin: cache.BuiltHere,
		Manifests: l.Manifests, Index: l.Index, Top: l.Top, Finished: time.Now(),
		Engine: engines[0], Also: engines[1:], NoCache: !p.cached,
	}
	for _, d := range o.Deps {
		dep, err := tree.Store.Read(d.String())
		p.must(err)
		rec.Deps = append(rec.Deps, cache.Dep{Output: d.String(), Images: dep.Manifests})
	}
	var err error
	rec.Key, err = tree.Keep(o, o.Request(nil), rec.Deps, rec.Engine.Probe)
	p.must(err)
	p.must(tree.Store.PutRecord(rec))
}

func (p *pretender) layout(tree *tree.View, output, layer string) cache.Layout {
	p.t.Helper()
	into, err := tree.Store.Stage(output)
	p.must(err)
	defer into.Close()
	put := func(mediaType string, v any) map[string]any {
		data, err := json.Marshal(v)
		p.must(err)
		d := oci.DigestOf(data)
		p.must(into.WriteBlob(d, int64(len(data)), bytes.NewReader(data)))
		return map[string]any{"mediaType": mediaType, "digest": d.String(), "size": len(data)}
	}
	amd64 := map[string]string{"os": "linux", "architecture": "amd64"}
	m := put(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest,
		"config": put("application/vnd.oci.image.config.v1+json", amd64),
		"layers": []any{put("application/vnd.oci.image.layer.v1.tar+gzip", layer)},
	})
	m["platform"] = amd64
	index := put(oci.MediaTypeIndex, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeIndex, "manifests": []any{m}})
	d, err := oci.ParseDigest(index["digest"].(string))
	p.must(err)
	l, err := into.Commit(p.t.Context(), oci.Descriptor{
		MediaType: oci.MediaTypeIndex, Digest: d, Size: int64(index["size"].(int)),
	}, map[string]string{"io.containerd.image.name": "docker.io/stagex/" + output + ":latest"})
	p.must(err)
	return l
}

// plan returns the plan for all outputs as a dry run prints it, without digests.
func (p *pretender) plan(opts plan.Options, targets ...string) string {
	p.t.Helper()
	tree := p.open()
	refs := tree.Graph.All()
	if len(targets) > 0 {
		var err error
		refs, _, err = tree.Graph.Select(targets)
		p.must(err)
	}
	opts.Probe, opts.Wanted = buildkit.ProbeDigest, LookInHub(tree.Tree, refs, p.hub)
	pl, err := plan.New(p.t.Context(), tree, refs, opts)
	p.must(err)
	var lines []string
	for _, s := range pl.Steps {
		if s.Action != plan.ActionNone {
			reason, _, _ := strings.Cut(s.Reason, " sha256:")
			lines = append(lines, s.Output.Ref.Name+": "+reason)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (p *pretender) wantPlan(opts plan.Options, targets []string, want ...string) {
	p.t.Helper()
	if got := p.plan(opts, targets...); got != strings.Join(want, "\n") {
		p.t.Errorf("the plan is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestPlanReasons checks the reason of each step in a diamond over a chain.
func TestPlanReasons(t *testing.T) {
	p := newPretender(t, "a", "b: a", "c: b", "d: a", "e: c d")
	p.wantPlan(plan.Options{}, nil, "a: not built yet", "b: not built yet", "c: not built yet", "d: not built yet", "e: not built yet")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		p.build(name, name)
	}
	p.wantPlan(plan.Options{}, nil, "")

	p.write("core/a/file", "new")
	p.wantPlan(plan.Options{}, nil, "a: packages/core/a/file was added", "b: core-a will be built", "c: core-b will be built",
		"d: core-a will be built", "e: core-d will be built") // over d it is nearer to a
	p.write("core/c/file", "new")
	p.wantPlan(plan.Options{}, []string{"core-c"}, "a: packages/core/a/file was added", "b: core-a will be built",
		"c: packages/core/c/file was added") // whatever becomes of b
	p.wantPlan(plan.Options{NoCache: true}, []string{"core-b"}, "a: packages/core/a/file was added", "b: --no-cache")
	p.wantPlan(plan.Options{Rebuild: true}, []string{"core-d"}, "a: packages/core/a/file was added", "d: --rebuild")

	p.build("a", "a") // came out as it was
	p.wantPlan(plan.Options{}, nil, "c: packages/core/c/file was added", "e: core-c will be built")
	p.build("a", "otherwise")
	p.build("c", "c")
	p.wantPlan(plan.Options{}, nil, "b: core-a changed", "c: core-b will be built", "d: core-a changed", "e: core-d will be built")
}

// intoHub moves outputs from out/ to the hub of plans.
func (p *pretender) intoHub(outputs ...string) {
	p.t.Helper()
	store := p.open().Store
	for _, output := range outputs {
		rec, err := store.Record(output)
		p.must(err)
		rec.From = p.hub.Repository()
		p.must(store.PutHubRecord(rec))
		p.must(os.RemoveAll(store.Out(output)))
	}
}

// TestPlanFromHub checks that what is only in the hub is brought if it is wanted, that its
// dependents are not built for that, and that they are if it must be built.
func TestPlanFromHub(t *testing.T) {
	p := newPretender(t, "a", "b: a", "c: b")
	for _, name := range []string{"a", "b", "c"} {
		p.build(name, name)
	}
	at, err := preseed.ParseHub("oci://registry.example/hub")
	p.must(err)
	hub, err := preseed.NewHub(at, preseed.Options{})
	p.must(err)
	defer hub.Close()
	p.hub = &Hub{Hub: hub, Results: ResultsTargets}
	p.intoHub("core-a", "core-b")
	p.wantPlan(plan.Options{}, []string{"core-b", "core-c"}, "b: "+plan.InHub)
	p.hub.Results = ResultsNone
	p.wantPlan(plan.Options{}, nil, "")
	p.write("core/a/file", "new")
	p.wantPlan(plan.Options{}, nil, "a: packages/core/a/file was added", "b: core-a will be built", "c: core-b will be built")
	p.hub.Results = ResultsAll
	p.wantPlan(plan.Options{}, nil, "a: packages/core/a/file was added", "b: "+plan.InHub, "c: core-b will be built")
	p.hub = nil
	p.wantPlan(plan.Options{}, []string{"core-b"}, "a: out/core-a is gone", "b: out/core-b is gone")
}

// TestExplainPast checks that a reason is followed through earlier builds to the
// file, and that an output with another digest from the same inputs is named.
func TestExplainPast(t *testing.T) {
	p := newPretender(t, "a", "b: a", "c: b")
	for _, name := range []string{"a", "b", "c"} {
		p.build(name, name)
	}
	p.write("core/a/file", "new")
	p.build("a", "otherwise")
	p.build("b", "otherwise")
	p.wantChain("c", "core-b changed", "core-a changed", "packages/core/a/file was added")
	p.build("c", "c")
	if e := p.explain("c"); e.Action != plan.ActionNone || len(e.Chain) != 0 || e.Record == nil || e.Closure != 2 {
		t.Errorf("up to date: %+v", e)
	}
	p.build("a", "by chance")
	p.wantChain("c", "core-b will be built", "core-a changed", "it is not reproducible: the same inputs gave another digest")
}

func (p *pretender) explain(name string) plan.Explanation {
	p.t.Helper()
	all, err := plan.Explain(p.t.Context(), p.open(), []graph.Ref{{Stage: "core", Name: name}}, plan.Options{Probe: buildkit.ProbeDigest})
	p.must(err)
	return all[0]
}

func (p *pretender) wantChain(name string, want ...string) {
	p.t.Helper()
	var got []string
	for _, c := range p.explain(name).Chain {
		reason, _, _ := strings.Cut(c.Reason, " sha256:")
		got = append(got, reason)
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("core-%s is explained by %q, want %q", name, got, want)
	}
}

// TestRecordsLost checks that the proof of an image in out/ takes the place of its
// record, if that is lost or says that the same image was pulled since.
func TestRecordsLost(t *testing.T) {
	for name, lose := range map[string]func(p *pretender){
		"gone": func(p *pretender) { p.must(os.RemoveAll(p.dir + "/.sx/records")) },
		"pulled": func(p *pretender) {
			for _, name := range []string{"core-a", "core-b"} {
				store := p.open().Store
				rec, err := store.Record(name)
				p.must(err)
				p.must(store.PutRecord(cache.Record{Output: name, Origin: cache.Preseeded, Manifests: rec.Manifests, Index: rec.Index, Top: rec.Top}))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPretender(t, "a:", "b: a")
			p.published("a", "b")
			before := p.said(p.open())
			lose(p)
			if diff := cmp.Diff(before, p.said(p.open())); diff != "" {
				t.Errorf("with records, and without:\n%s", diff)
			}
			tree := p.open()
			if _, changed, err := publish.NewDigests(&verdict.Judge{View: tree}, tree.Graph.All(), false); err != nil || len(changed) > 0 {
				t.Errorf("digests --write: %v, %v", changed, err)
			}
			p.write("core/a/more", "edit")
			if said := p.said(p.open()); !strings.Contains(said, "core-a build packages/core/a/more") {
				t.Errorf("after an edit:\n%s", said)
			}
		})
	}
}

// TestSkippedDefinitions checks that the outputs of a skipped definition, whatever
// their names, and their lines in digests/ stay.
func TestSkippedDefinitions(t *testing.T) {
	p := newPretender(t, "a:", "b:", "c:", "d:")
	p.published("a", "b", "c", "d")
	edit(t, p.dir+"/fetch/core/b/source", "1")
	edit(t, p.dir+"/fetch/core/a/source", "1")
	p.must(errors.Join(os.RemoveAll(p.dir+"/packages/core/b"), os.Symlink("nowhere", p.dir+"/packages/core/b")))
	p.must(os.RemoveAll(p.dir + "/packages/core/c")) // as a subpackage of b would look
	p.must(os.Remove(p.dir + "/packages/core/d/Containerfile"))
	garbage := func() ([]string, []string) {
		w, err := FindGarbage(p.open().Tree)
		p.must(err)
		return w.Outputs, w.Sources.Files
	}
	dropped := func() (names []string) {
		tree := p.open()
		_, lines, err := publish.NewDigests(&verdict.Judge{View: tree}, nil, false)
		p.must(err)
		for _, l := range lines {
			names = append(names, l.Name)
		}
		return names
	}
	outputs, files := garbage()
	if lines := dropped(); len(outputs) > 0 || len(lines) > 0 || !slices.Equal(files, []string{"fetch/core/a/source"}) {
		t.Errorf("beside skipped definitions %q, %q and the lines of %q would go", outputs, files, lines)
	}
	p.must(errors.Join(os.Remove(p.dir+"/packages/core/b"), os.RemoveAll(p.dir+"/packages/core/d")))
	outputs, files = garbage()
	if lines := dropped(); len(outputs) != 3 || len(files) != 2 || len(lines) != 3 {
		t.Errorf("without them %q, %q and the lines of %q would go", outputs, files, lines)
	}
}
