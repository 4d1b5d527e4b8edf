package graph_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
	"github.com/google/go-cmp/cmp"
)

// treeVariable names a StageX checkout to compare with what upstream's own
// scripts say about it. It needs python3, make and git.
const treeVariable = "SX_TEST_TREE"

// upstreamTree is a copy of the checkout, because make and fetch.py write into
// theirs, and the graph of it.
func upstreamTree(t *testing.T) (string, *graph.Graph) {
	t.Helper()
	source := os.Getenv(treeVariable)
	if source == "" {
		t.Skipf("%s is not set", treeVariable)
	}
	dir := t.TempDir()
	for _, name := range []string{".git", "Makefile", "digests", "packages", "src"} {
		run(t, "", "cp", "-a", filepath.Join(source, name), dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	g, err := graph.Load(context.Background(), root.FS(), graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return dir, g
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("running %s: %v\n%s", name, err, stderr.String())
	}
	return string(out)
}

func TestUpstreamRequests(t *testing.T) {
	dir, g := upstreamTree(t)
	commands := makeCommands(t, run(t, dir, "make", "-n", "all", "BUILDER=docker"))
	rules, err := os.ReadFile(filepath.Join(dir, "out", "targets.mk"))
	if err != nil {
		t.Fatal(err)
	}
	deps := makeDeps(t, string(rules))
	if want := slices.Sorted(maps.Keys(deps)); !slices.Equal(want, names(g.All())) {
		t.Errorf("outputs (-upstream +sx):\n%s", cmp.Diff(want, names(g.All())))
	}
	for _, o := range g.Outputs() {
		name := o.Ref.String()
		if diff := cmp.Diff(deps[name], names(o.Deps)); diff != "" {
			t.Errorf("%s: deps (-upstream +sx):\n%s", name, diff)
		}
		if diff := cmp.Diff(commands[name], o.Request(nil)); diff != "" {
			t.Errorf("%s: request (-upstream +sx):\n%s", name, diff)
		}
	}
	t.Logf("compared %d outputs", len(commands))
}

func TestUpstreamSources(t *testing.T) {
	dir, g := upstreamTree(t)
	driver, err := filepath.Abs(filepath.Join("testdata", "fetch_plan.py"))
	if err != nil {
		t.Fatal(err)
	}
	var plan []struct{ Package, Key, Path, URL string }
	if err := json.Unmarshal([]byte(run(t, dir, "python3", driver)), &plan); err != nil {
		t.Fatal(err)
	}
	type source struct {
		Path    string
		Mirrors []string
	}
	want := map[string]source{}
	for _, p := range plan {
		// Upstream takes the name from each mirror; sx from the first.
		s, ok := want[p.Package+" "+p.Key]
		if !ok {
			s.Path = p.Path
		}
		s.Mirrors = append(s.Mirrors, p.URL)
		want[p.Package+" "+p.Key] = s
	}
	got := map[string]source{}
	hashes := map[graph.Hash]bool{}
	for _, d := range g.Definitions() {
		for _, s := range d.Sources {
			got[d.Dir+"/package.toml "+s.Key] = source{s.Path, s.Mirrors}
			hashes[s.Hash] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-upstream +sx):\n%s", diff)
	}
	t.Logf("compared %d sources with %d hashes", len(got), len(hashes))
}

// TestUpstreamNumbers holds for the release that they were counted on.
func TestUpstreamNumbers(t *testing.T) {
	_, g := upstreamTree(t)
	const definitions = 443
	if len(g.Definitions()) != definitions {
		t.Logf("%d definitions: not release 2026.03.0, not counting", len(g.Definitions()))
		return
	}
	edges, sources, mirrored := 0, 0, 0
	hashes := map[graph.Hash]bool{}
	var roots []string
	for _, o := range g.Outputs() {
		edges += len(o.Deps)
		if len(o.Deps) == 0 {
			roots = append(roots, o.Ref.String())
		}
	}
	for _, d := range g.Definitions() {
		sources += len(d.Sources)
		for _, s := range d.Sources {
			hashes[s.Hash] = true
			if len(s.Mirrors) > 1 {
				mirrored++
			}
		}
	}
	closure := len(g.Closure([]graph.Ref{{Stage: "pallet", Name: "rust"}})) - 1
	got := []int{len(g.Outputs()), edges, sources, len(hashes), mirrored, longestChain(g), closure}
	if want := []int{513, 3569, 775, 743, 153, 35, 55}; !slices.Equal(got, want) {
		t.Errorf("outputs, edges, sources, hashes, mirrored, longest chain, closure of pallet-rust = %v, want %v", got, want)
	}
	if want := []string{"bootstrap-stage0", "core-profile"}; !slices.Equal(roots, want) {
		t.Errorf("outputs without dependencies = %v, want %v", roots, want)
	}
	if want := []string{"packages/user/mesa has no package.toml: skipped"}; !slices.Equal(g.Warnings(), want) {
		t.Errorf("warnings = %q, want %q", g.Warnings(), want)
	}
}

// longestChain counts outputs, first to last.
func longestChain(g *graph.Graph) int {
	length := map[graph.Ref]int{}
	longest := 0
	for _, o := range g.Order(g.All()) {
		for _, dep := range o.Deps {
			length[o.Ref] = max(length[o.Ref], length[dep])
		}
		length[o.Ref]++
		longest = max(longest, length[o.Ref])
	}
	return longest
}

func TestUpstreamSnapshots(t *testing.T) {
	dir, g := upstreamTree(t)
	for _, d := range g.Definitions() {
		files, err := graph.Snapshot(os.DirFS(dir), d)
		if err != nil {
			t.Error(err)
		}
		if !slices.ContainsFunc(files, func(f graph.File) bool { return f.Path == "Containerfile" }) {
			t.Errorf("%s: no Containerfile in its snapshot", d.Dir)
		}
	}
}

func names(refs []graph.Ref) []string {
	out := make([]string, 0, len(refs))
	for _, r := range refs {
		out = append(out, r.String())
	}
	return out
}
