package relations

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// load makes a tree of core outputs: "d: b c" depends on core-b and core-c.
func load(t *testing.T, lines ...string) *graph.Graph {
	t.Helper()
	var archive strings.Builder
	for _, line := range lines {
		name, deps, _ := strings.Cut(line, ":")
		fmt.Fprintf(&archive, "-- packages/core/%s/package.toml --\n[package]\nname = %q\n", name, name)
		fmt.Fprintf(&archive, "-- packages/core/%s/Containerfile --\nFROM scratch\n# stagex/core-%s\n", name, name)
		for _, dep := range strings.Fields(deps) {
			fmt.Fprintf(&archive, "COPY --from=stagex/core-%s / /\n", dep)
		}
	}
	g, err := graph.Load(context.Background(), graphtest.Tree(archive.String()), graph.LoadOptions{})
	if err != nil || len(g.Broken()) > 0 {
		t.Fatal(err, g.Broken())
	}
	return g
}

func core(name string) graph.Ref { return graph.Ref{Stage: "core", Name: name} }

func TestReach(t *testing.T) {
	g := load(t, "a:", "b: a", "c: a b", "d: c", "e:")
	for _, c := range []struct {
		from  string
		next  Next
		depth int
		want  string
	}{
		{"d", Dependencies(g), 0, "[{core-c 1} {core-a 2} {core-b 2}]"},
		{"d", Dependencies(g), 1, "[{core-c 1}]"},
		{"a", Dependents(g), 0, "[{core-b 1} {core-c 1} {core-d 2}]"},
		{"e", Dependents(g), 0, "[]"},
	} {
		if got := fmt.Sprint(Reach([]graph.Ref{core(c.from)}, c.next, c.depth)); got != c.want {
			t.Errorf("from %s, depth %d: %s, want %s", c.from, c.depth, got, c.want)
		}
	}
}

// What an output depends on is written once, and again only where the depth had cut it.
func TestWriteTree(t *testing.T) {
	g := load(t, "a:", "b: a", "c: b", "d: b c", "e: c b")
	for depth, want := range map[int]string{
		0: `core-d
├── core-b
│   └── core-a
└── core-c
    └── core-b (see above)
`,
		2: `core-d
├── core-b
│   └── core-a
└── core-c
    └── core-b
`,
	} {
		var got strings.Builder
		if err := WriteTree(&got, []graph.Ref{core("d")}, Dependencies(g), depth); err != nil || got.String() != want {
			t.Errorf("depth %d: %v\n%s", depth, err, got.String())
		}
	}
	g = load(t, "a:", "b: a", "aa: b", "d: aa b")
	var got strings.Builder
	WriteTree(&got, []graph.Ref{core("d")}, Dependencies(g), 2)
	if !strings.Contains(got.String(), "└── core-b\n    └── core-a\n") {
		t.Errorf("a cut branch hides a whole one:\n%s", got.String())
	}
}

func TestPaths(t *testing.T) {
	g := load(t, "a:", "b: a", "c: a b", "d: a c", "e:")
	paths, count := Paths(g, core("d"), core("a"), 10)
	if got, want := fmt.Sprint(paths, count), "[[core-d core-a] [core-d core-c core-a] [core-d core-c core-b core-a]] 3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	paths, count = Paths(g, core("d"), core("a"), 1)
	if len(paths) != 1 || len(paths[0]) != 2 || count.Int64() != 3 {
		t.Errorf("limited: %v of %v", paths, count)
	}
	if paths, count = Paths(g, core("a"), core("d"), 10); len(paths) != 0 || count.Sign() != 0 {
		t.Errorf("against the arrows: %v of %v", paths, count)
	}
	if paths, _ = Paths(g, core("a"), core("a"), 10); len(paths) != 1 {
		t.Errorf("to itself: %v", paths)
	}
}

// Of 2^60 paths the wanted ones are listed, and all are counted.
func TestPathsMany(t *testing.T) {
	lines := []string{"x0:"}
	for i := range 60 {
		lines = append(lines, fmt.Sprintf("l%d: x%d", i, i), fmt.Sprintf("r%d: x%d", i, i), fmt.Sprintf("x%d: l%d r%d", i+1, i, i))
	}
	g := load(t, lines...)
	paths, count := Paths(g, core("x60"), core("x0"), 100)
	if len(paths) != 100 || count.String() != "1152921504606846976" {
		t.Errorf("%d paths of %s", len(paths), count)
	}
}

func TestLine(t *testing.T) {
	archive := `-- packages/core/a/package.toml --
[package]
name = "a"
-- packages/core/a/Containerfile --
FROM scratch
-- packages/core/ab/package.toml --
[package]
name = "ab"
-- packages/core/ab/Containerfile --
FROM scratch
-- packages/core/c/package.toml --
[package]
name = "c"
-- packages/core/c/Containerfile --
# COPY --from=stagex/core-a / /
FROM stagex/core-ab
COPY --from=stagex/core-a / /
`
	tree := graphtest.Tree(archive)
	g, err := graph.Load(context.Background(), tree, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"a": 3, "ab": 2, "b": 0} {
		if got := Line(tree, g.Output(core("c")), core(name)); got != want {
			t.Errorf("core-%s: line %d, want %d", name, got, want)
		}
	}
}
