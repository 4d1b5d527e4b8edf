package driver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// TestLookAheadChangesNothing changes a tree in many ways: a run that reads all
// outputs while it reads the definitions must give the same result as one without a
// memory.
func TestLookAheadChangesNothing(t *testing.T) {
	for name, change := range map[string]func(p *pretender){
		"nothing": func(*pretender) {},
		"layer, same size and mtime": func(p *pretender) {
			layers, _ := filepath.Glob(p.dir + "/out/core-tool/blobs/sha256/*")
			for _, path := range layers {
				data, err := os.ReadFile(path)
				p.must(err)
				if string(data) != `"tool"` {
					continue
				}
				info, err := os.Stat(path)
				p.must(err)
				p.must(os.Chmod(path, 0o644))
				p.must(os.WriteFile(path, []byte(`"toil"`), 0o644))
				p.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
				return
			}
			p.t.Fatal("there is no layer")
		},
		"company":     func(p *pretender) { edit(p.t, p.dir+"/out/core-tool/blobs/x", "") },
		"touched":     func(p *pretender) { p.must(os.Chtimes(p.dir+"/out/core-tool/index.json", time.Time{}, time.Now())) },
		"out gone":    func(p *pretender) { p.must(os.RemoveAll(p.dir + "/out/core-tool")) },
		"record gone": func(p *pretender) { p.must(os.Remove(p.dir + "/.sx/records/core-libc.json")) },
		"forged": func(p *pretender) {
			edit(p.t, p.dir+"/.sx/records/core-libc.json", `{"version":2,"mac":"","record":{}}`)
		},
		"definition": func(p *pretender) { p.write("core/libc/Containerfile", "FROM scratch\n") },
		"no more":    func(p *pretender) { p.must(os.RemoveAll(p.dir + "/packages/core/app")) },
		"new": func(p *pretender) {
			p.write("core/new/package.toml", "[package]\nname = \"new\"\n")
			p.write("core/new/Containerfile", "FROM stagex/core-app\n")
		},
		"built anew": func(p *pretender) { p.build("tool", "other") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPretender(t, "libc:", "tool: libc", "app: tool libc")
			published := cache.Published{}
			for _, name := range []string{"libc", "tool", "app"} {
				p.build(name, name)
				l, err := p.open().Store.Read("core-" + name)
				p.must(err)
				published["core-"+name] = l.Digest()
			}
			p.must(p.open().Store.WriteDigests(published))
			ahead := tree.Options{
				KeyFile: filepath.Join(p.dir, "key"), Build: "test", All: true,
				Now: func() time.Time { return time.Now().Add(time.Hour) },
			}
			look := func() string {
				tree, err := tree.Open(t.Context(), p.dir, ahead)
				p.must(err)
				defer func() { p.must(tree.Close()) }()
				return p.said(tree)
			}
			look()
			if tree, err := tree.Open(t.Context(), p.dir, ahead); err != nil || len(tree.Store.Remembered()) != 3 {
				t.Fatalf("not all is remembered (%v)", err)
			}
			change(p)
			got := look()
			if diff := cmp.Diff(p.said(p.open()), got); diff != "" {
				t.Errorf("with nothing remembered, and ahead (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMadeWhileLookingAhead checks that an output that another sx built after this
// one read it, and before this one planned, is not built again.
func TestMadeWhileLookingAhead(t *testing.T) {
	p := newPretender(t, "libc:", "tool: libc")
	p.build("libc", "libc")
	p.build("tool", "tool")
	ahead := tree.Options{
		KeyFile: filepath.Join(p.dir, "key"), Build: "test", All: true,
		Now: func() time.Time { return time.Now().Add(time.Hour) },
	}
	open := func() *tree.View {
		tree, err := tree.Open(t.Context(), p.dir, ahead)
		p.must(err)
		return tree
	}
	tree := open()
	p.said(tree)
	p.must(tree.Close())
	p.write("core/tool/Containerfile", "FROM stagex/core-libc\n")
	tree = open()
	defer tree.Close()
	p.build("tool", "other")
	pl, err := plan.New(t.Context(), tree, tree.Graph.All(), plan.Options{Probe: buildkit.ProbeDigest})
	p.must(err)
	tool := pl.Steps[1]
	if tool.Action != plan.ActionBuild {
		t.Fatalf("core-tool: %s", tool.Reason)
	}
	r := &run{Tree: tree.Tree, engines: &engines{all: []*connection{{engine: &engine{probe: buildkit.ProbeDigest}}}}}
	if taken, err := r.builtByOther(tool); err != nil || !taken {
		t.Errorf("core-tool is built again (%v)", err)
	}
}

// TestBuiltInTheFuture checks that a record written while the clock was ahead does
// not count as a build by another sx, which would replace the one that the user
// asked for.
func TestBuiltInTheFuture(t *testing.T) {
	p := newPretender(t, "libc:")
	p.build("libc", "libc")
	tree := p.open()
	rec, err := tree.Store.Record("core-libc")
	p.must(err)
	rec.Finished = time.Now().Add(24 * time.Hour)
	p.must(tree.Store.PutRecord(rec))
	targets := tree.Graph.All()
	plan, err := plan.New(t.Context(), tree, targets, plan.Options{Probe: buildkit.ProbeDigest, Rebuild: true})
	p.must(err)
	r := &run{Tree: tree.Tree, targets: targets, engines: &engines{all: []*connection{{engine: &engine{probe: buildkit.ProbeDigest}}}}}
	if taken, err := r.builtByOther(plan.Steps[0]); err != nil || taken {
		t.Errorf("nothing is built, as if another sx had (%v)", err)
	}
}

// said returns each step of the plan for all outputs, and each verdict.
func (p *pretender) said(tree *tree.View) string {
	p.t.Helper()
	var b strings.Builder
	refs := tree.Graph.All()
	planned, err := plan.New(p.t.Context(), tree, refs, plan.Options{Probe: buildkit.ProbeDigest})
	p.must(err)
	for _, s := range planned.Steps {
		fmt.Fprintln(&b, s.Output, s.Action, s.Reason)
	}
	p.agree(tree, planned)
	verdicts := (&verdict.Judge{View: tree}).All(refs)
	for _, v := range verdicts {
		fmt.Fprintln(&b, v.Ref, v.Got, v, v.Note)
	}
	return b.String()
}

// agree fails the test if plan.Stale gives another reason for an output than the
// plan does: a run calls it before it builds.
func (p *pretender) agree(v *tree.View, planned *plan.Plan) {
	p.t.Helper()
	for _, s := range planned.Steps {
		if s.Because != (graph.Ref{}) {
			continue
		}
		want := s.Reason
		if s.Action == plan.ActionNone {
			want = ""
		}
		reason, err := plan.Stale(v, s.Output, s.Request.Platforms, buildkit.ProbeDigest)
		p.must(err)
		if reason.String() != want {
			p.t.Errorf("%s: the plan says %q, and asked alone it is %q", s.Output, want, reason)
		}
	}
}

// TestViewStays checks that a plan and verdicts of one View are about the same out/,
// whatever is built in between; the next View shows it.
func TestViewStays(t *testing.T) {
	p := newPretender(t, "libc:", "tool: libc")
	p.build("libc", "libc")
	p.build("tool", "tool")
	was := p.open()
	said := p.said(was)
	p.build("libc", "other")
	p.must(os.RemoveAll(p.dir + "/out/core-tool"))
	if diff := cmp.Diff(said, p.said(was)); diff != "" {
		t.Errorf("the View changed (-first +then):\n%s", diff)
	}
	now := p.said(was.Look())
	if now == said || now != p.said(p.open()) {
		t.Errorf("the next View says\n%s\nbefore it was\n%s", now, said)
	}
}

// TestKeptKey checks that the key of a build is not asked for again in the same run, and
// that it proves nothing about other platforms, another record or edited definitions.
func TestKeptKey(t *testing.T) {
	p := newPretender(t, "libc:", "tool: libc")
	p.build("libc", "libc")
	p.build("tool", "tool")
	v := p.open()
	o := v.Graph.Output(graph.Ref{Stage: "core", Name: "tool"})
	rec, err := v.Record(o)
	p.must(err)
	p.write("core/tool/Containerfile", "FROM scratch\n") // v has read it
	kept, err := v.Keep(o, o.Request(nil), rec.Deps, rec.Engine.Probe)
	p.must(err)
	if kept != rec.Key {
		t.Errorf("got key %s, want that of the record, %s", kept, rec.Key)
	}
	current := func(v *tree.View, platforms []string, rec cache.Record) bool {
		yes, err := v.Current(v.Graph.Output(o.Ref), platforms, rec)
		p.must(err)
		return yes
	}
	other := rec
	other.Key, err = cache.ParseKey(strings.Repeat("a", 64))
	p.must(err)
	switch {
	case !current(v.Look(), nil, rec):
		t.Error("what was just built is not current")
	case current(v.Look(), []string{"linux/arm64"}, rec):
		t.Error("it is current for another platform")
	case current(v.Look(), nil, other):
		t.Error("a record with another key is current")
	}
	edited := p.open()
	if _, err := edited.Keep(edited.Graph.Output(o.Ref), edited.Graph.Output(o.Ref).Request(nil), nil, rec.Engine.Probe); err != nil || len(edited.Graph.Output(o.Ref).Deps) != 0 {
		t.Fatalf("the edit was not read: %v", err)
	}
	if current(edited, nil, rec) {
		t.Error("it is current after an edit")
	}
}
