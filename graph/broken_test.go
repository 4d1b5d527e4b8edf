package graph_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// brokenTree has a definition, odd, that others depend on, and some that do not.
const brokenTree = base + `
-- packages/core/odd/package.toml --
[package]
name = "odd"
version = "2"
-- packages/core/odd/Containerfile --
FROM stagex/core-base
-- packages/core/near/package.toml --
[package]
name = "near"
version = "1"
-- packages/core/near/Containerfile --
FROM scratch AS a
COPY --from=stagex/core-odd . .
-- packages/pallet/far/package.toml --
[package]
name = "far"
subpackages = ["one", "two"]
-- packages/pallet/far/Containerfile --
FROM stagex/core-near AS package-one
FROM scratch AS package-two
-- packages/user/version/package.toml --
[package]
name = "version"
version_from = "core-odd"
-- packages/user/version/Containerfile --
FROM scratch
-- packages/user/good/package.toml --
[package]
name = "good"
version_from = "core-base"
-- packages/user/good/Containerfile --
FROM stagex/core-base
`

// TestBroken: each kind of error breaks the definition's outputs and what depends
// on them, and nothing else.
func TestBroken(t *testing.T) {
	const file = "packages/core/odd/"
	for name, test := range map[string]struct {
		change map[string]string // files of core/odd
		want   []string
	}{
		"toml":            {map[string]string{"package.toml": "[package\n"}, []string{file + `package.toml:2: `}},
		"no instructions": {map[string]string{"Containerfile": "# nothing\n"}, []string{file + `Containerfile:1: file with no instructions`}},
		"stage twice":     {map[string]string{"Containerfile": "FROM scratch AS a\nFROM scratch AS a\n"}, []string{file + `Containerfile:2: stage "a": defined twice`}},
		"unknown output":  {map[string]string{"Containerfile": "FROM stagex/core-bas\n"}, []string{file + `Containerfile:1: unknown output "core-bas"; did you mean core-base?`}},
		"image":           {map[string]string{"Containerfile": "FROM debian:12\n"}, []string{file + `Containerfile:1: FROM "debian:12"`}},
		"cycle":           {map[string]string{"Containerfile": "FROM stagex/core-near\n"}, []string{`packages/core/near/Containerfile:2: cycle of dependencies: core-near -> core-odd -> core-near`}},
		"version cycle":   {map[string]string{"package.toml": "[package]\nname = \"odd\"\nversion_from = \"user-version\"\n"}, []string{file + `package.toml:3: cycle of version_from: core-odd -> user-version -> core-odd`}},
		"no hash":         {map[string]string{"package.toml": "[package]\nname = \"odd\"\nversion = \"1\"\n[sources.x]\n"}, []string{file + `package.toml:4: source "x": hash is missing`, file + `package.toml:4: source "x": want at least one mirror`}},
		"name":            {map[string]string{"caf\xe9": ""}, []string{file + `caf\xe9: its name is not UTF-8`}},
		"size":            {map[string]string{"Containerfile": "FROM scratch\n" + strings.Repeat("#\n", 1<<19)}, []string{file + `Containerfile:131068: larger than 262144 bytes`}},
	} {
		t.Run(name, func(t *testing.T) {
			tree := graphtest.Tree(brokenTree)
			for name, data := range test.change {
				tree[file+name] = &fstest.MapFile{Data: []byte(data), Mode: 0o644}
			}
			g := load(t, tree)
			if diff := cmp.Diff([]string{"core-base", "user-good"}, names(g.All())); diff != "" {
				t.Errorf("sound (-want +got):\n%s", diff)
			}
			for i, d := range g.Definitions() {
				if d.Number() != i {
					t.Errorf("%s has number %d, want %d", d.Dir, d.Number(), i)
				}
			}
			var dirs []string
			for _, b := range g.Broken() {
				dirs = append(dirs, fmt.Sprint(b.Dir, b.Outputs))
			}
			want := []string{"packages/core/near[core-near]", "packages/core/odd[core-odd]", "packages/pallet/far[pallet-one pallet-two]", "packages/user/version[user-version]"}
			if diff := cmp.Diff(want, dirs); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			got := strings.Split(wrong(g).Error(), "\n")
			if len(got) != len(test.want) {
				t.Fatalf("errors %q, want %q", got, test.want)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("error %q, want %q", got[i], want)
				}
			}
			far := g.BrokenOutput(graph.Ref{Stage: "pallet", Name: "two"})
			if far == nil || far.Because.String() != "core-near" || far.Root == nil || len(far.Root.Errors) == 0 {
				t.Errorf("pallet-two: %+v", far)
			}
		})
	}
}

func TestBrokenError(t *testing.T) {
	tree := graphtest.Tree(brokenTree)
	tree["packages/core/odd/Containerfile"].Data = []byte("FROM debian:12\n")
	g := load(t, tree)
	err := error(&graph.BrokenError{Broken: g.Broken()})
	want := `packages/core/odd/Containerfile:1: FROM "debian:12": ` + elsewhere + `docker.io/library/debian:12
packages/core/odd breaks what depends on it: core-near, pallet-one, pallet-two, user-version`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var file *graph.FileError
	if !errors.As(err, &file) || file.Line != 1 {
		t.Errorf("%+v", file)
	}
}

// TestTwoClaims breaks both.
func TestTwoClaims(t *testing.T) {
	tree := graphtest.Tree(brokenTree)
	maps.Copy(tree, graphtest.Tree(`
-- packages/core/other/package.toml --
[package]
name = "other"
subpackages = ["odd", "more"]
-- packages/core/other/Containerfile --
FROM scratch AS package-odd
FROM scratch AS package-more
`))
	g := load(t, tree)
	checkError(t, wrong(g),
		`packages/core/odd/package.toml:2: output "core-odd": packages/core/other claims it too`,
		`packages/core/other/package.toml:3: output "core-odd": packages/core/odd claims it too`)
	if diff := cmp.Diff([]string{"core-base", "user-good"}, names(g.All())); diff != "" {
		t.Errorf("sound (-want +got):\n%s", diff)
	}
}

// TestMayHold: what a definition may have that cannot be read leads to it.
func TestMayHold(t *testing.T) {
	tree := graphtest.Tree(brokenTree)
	maps.Copy(tree, graphtest.Tree(`
-- packages/core/family/package.toml --
[package]
name = "family"
subpackages = ["son", 'daughter']
also = ["cousin"]
oops
-- packages/core/family/Containerfile --
FROM scratch
-- packages/user/a/package.toml --
[package]
name = "a"
-- packages/user/a/Containerfile --
FROM stagex/core-cousin
-- packages/user/b/package.toml --
[package]
name = "b"
version_from = "core-daughter"
-- packages/user/b/Containerfile --
FROM scratch
-- packages/user/c/package.toml --
[package]
name = "c"
-- packages/user/c/Containerfile --
FROM stagex/core-stranger
`))
	tree["packages/core/secret/package.toml"] = &fstest.MapFile{Data: make([]byte, 2<<20)}
	tree["packages/core/secret/Containerfile"] = &fstest.MapFile{Data: []byte("FROM scratch\n")}
	g := load(t, tree)
	checkError(t, wrong(g),
		`packages/core/family/package.toml:5: reading "package": expected '.' or '=', but got '\n' instead`,
		`packages/core/secret/package.toml:1: larger than 1048576 bytes`,
		`packages/user/c/Containerfile:1: unknown output "core-stranger"; packages/core/secret cannot be read and may have it`)
	for selector, want := range map[string]string{
		"core-son": "packages/core/family", "core-daughter": "packages/core/family", "core-cousin": "packages/core/family",
		"son": "packages/core/family", "core/family": "packages/core/family", "packages/core/family": "packages/core/family",
		"core-secret": "packages/core/secret", "user-a": "packages/user/a", "user/a/": "packages/user/a", "[b]": "", "user-[b]": "packages/user/b",
	} {
		_, broken, err := g.Select([]string{selector})
		if want == "" {
			if err == nil {
				t.Errorf("%s: %v", selector, broken)
			}
			continue
		}
		if err != nil || len(broken) != 1 || broken[0].Dir != want {
			t.Errorf("%s: %v, %v; want %s", selector, broken, err, want)
		}
	}
	_, _, err := g.Select([]string{"core-stranger"})
	if err == nil || !strings.HasSuffix(err.Error(), "packages/core/secret cannot be read and may have it") {
		t.Error(err)
	}
	refs, broken, err := g.Select([]string{"user", "core-base"})
	if diff := cmp.Diff([]string{"core-base", "core-near", "core-odd"}[:1], names(refs)[:1]); diff != "" || len(broken) != 3 || err != nil {
		t.Errorf("%v, %v, %v", refs, broken, err)
	}
}

// TestOldTree: a tree before package.toml gets one sentence.
func TestOldTree(t *testing.T) {
	g := load(t, graphtest.Tree("-- packages/core/a/Containerfile --\nFROM scratch\n-- packages/core/b/Containerfile --\nFROM scratch\n"))
	want := []string{"packages holds no package.toml: this is a tree of 2024, before StageX had them, which sx does not build"}
	if diff := cmp.Diff(want, g.Warnings()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// TestMemoryOfBroken: what is broken is read each time, the rest is recalled, also
// when another definition breaks or mends it.
func TestMemoryOfBroken(t *testing.T) {
	tree := graphtest.Tree(brokenTree)
	memory := newMemory(tree)
	export := func(m graph.Memory) string {
		g, err := graph.Load(t.Context(), tree, graph.LoadOptions{Memory: m})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := g.WriteJSON(&b, g.All(), g.Broken()); err != nil {
			t.Fatal(err)
		}
		return b.String() + strings.Join(g.Warnings(), "\n")
	}
	sound := tree["packages/core/odd/package.toml"].Data
	for _, manifest := range []string{
		string(sound), "[package\n", "[package]\nname = \"odd\"\nversion = \"3\"\n", "[package]\nname = \"odd\"\nsubpackages = [\"base\"]\n",
		"[package]\nname = \"odd\"\nversion = \"2\"\nvesrion = \"4\"\n", "[package]\nname = \"even\"\n", string(sound),
	} {
		tree["packages/core/odd/package.toml"].Data = []byte(manifest)
		for range 2 {
			if diff := cmp.Diff(export(nil), export(memory)); diff != "" {
				t.Errorf("%q (-read +recalled):\n%s", manifest, diff)
			}
		}
	}
	tree["packages/core/odd/Containerfile"].Data = []byte("FROM debian\n")
	export(memory)
	memory.read = nil
	export(memory)
	if diff := cmp.Diff([]string{"packages/core/odd"}, memory.read); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

// TestBoundedLoad: a megabyte of anything is an error with a line, within
// [graphtest.Cost.Bounded].
func TestBoundedLoad(t *testing.T) {
	million := strings.Repeat("a", 1000_000)
	for name, test := range map[string]struct{ manifest, containerfile, want string }{
		"name":        {"[package]\nname = \"" + million + "\"\n", "", "package.toml:2: "},
		"subpackages": {"[package]\nname = \"x\"\nsubpackages = [" + strings.Repeat("\"a\",", 200_000) + "]\n", "", "package.toml:3: "},
		"nested":      {"[package]\nname = \"x\"\nx=" + strings.Repeat("{a=", 8000) + "1" + strings.Repeat("}", 8000) + "\n", "", "package.toml:3: "},
		"argument":    {"", "ARG A=" + million + "\nFROM scratch\n", "Containerfile:"},
		"stage":       {"", "FROM scratch\nFROM scratch AS " + million + "\n", "Containerfile:"},
		"stages":      {"", "FROM scratch\n" + strings.Repeat("FROM a\n", 20_000), "Containerfile:"},
		"arguments":   {"", strings.Repeat("ARG A=$A$A\n", 20_000) + "FROM scratch\n", "Containerfile:"},
		"errors":      {"", "FROM scratch\n" + strings.Repeat("COPY --from=stagex/core-none a b\n", 1_900), "Containerfile:2: "},
		"copies":      {"", "FROM scratch\n" + strings.Repeat("COPY --from=stagex/core-none a b\n", 7_000), "Containerfile:2001: "},
		"outputs":     {"", "FROM scratch\n" + strings.Repeat("FROM stagex/core-base AS a\n", 9_000), "Containerfile:"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.manifest == "" {
				test.manifest = "[package]\nname = \"x\"\n"
			}
			if test.containerfile == "" {
				test.containerfile = "FROM scratch\n"
			}
			var err error
			cost := graphtest.CostOf(func() { _, err = loadOne(test.manifest, test.containerfile) })
			if err := cost.Bounded(); err != nil {
				t.Error(err)
			}
			if err == nil || !strings.HasPrefix(err.Error(), "packages/core/x/"+test.want) {
				t.Errorf("%.300v, want %s", err, test.want)
			}
			if err != nil && len(err.Error()) > 30_000 {
				t.Errorf("%d bytes of errors", len(err.Error()))
			}
		})
	}
}

// folderMemory is a graph.Memory that knows a folder by its files.
type folderMemory struct {
	tree fstest.MapFS
	mu   sync.Mutex
	kept map[string][2]string // what the folder held, and what was learnt
	read []string             // folders that were not recalled
}

var _ graph.Memory = (*folderMemory)(nil)

func newMemory(tree fstest.MapFS) *folderMemory {
	return &folderMemory{tree: tree, kept: map[string][2]string{}}
}

func (m *folderMemory) holds(dir string) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(m.tree)) {
		if strings.HasPrefix(path, dir+"/") {
			fmt.Fprintf(&b, "%q %q\n", path, m.tree[path].Data)
		}
	}
	return b.String()
}

func (m *folderMemory) Recall(dir string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kept, ok := m.kept[dir]; ok && kept[0] == m.holds(dir) {
		return kept[1], true
	}
	m.read = append(m.read, dir)
	slices.Sort(m.read)
	return "", false
}

func (m *folderMemory) Remember(d *graph.Definition, learnt string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[d.Dir] = [2]string{m.holds(d.Dir), learnt}
}

func (m *folderMemory) Forget(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, dir)
}
