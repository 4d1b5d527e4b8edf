package graph_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// plain makes core definitions, "name: dep dep" a line.
func plain(lines string) fstest.MapFS {
	tree := fstest.MapFS{}
	for line := range strings.Lines(lines) {
		name, deps, _ := strings.Cut(strings.TrimSpace(line), ":")
		dir := "packages/core/" + name
		text := "FROM scratch\n"
		for _, dep := range strings.Fields(deps) {
			text += "COPY --from=stagex/core-" + dep + " . /\n"
		}
		tree[dir+"/package.toml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "[package]\nname = %q\n", name)}
		tree[dir+"/Containerfile"] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func TestCycles(t *testing.T) {
	for name, test := range map[string]struct {
		tree string
		want []string
	}{
		"self":                     {"a: a", []string{"a/Containerfile:2: cycle of dependencies: core-a -> core-a"}},
		"two":                      {"a: b\nb: a", []string{"a/Containerfile:2: cycle of dependencies: core-a -> core-b -> core-a"}},
		"long":                     {"d: a\na: x b\nb: c\nc: d\nx:", []string{"a/Containerfile:3: cycle of dependencies: core-a -> core-b -> core-c -> core-d -> core-a"}},
		"apart":                    {"a: b\nb: a\nc: d a\nd: c", []string{"a/Containerfile:2: cycle of dependencies: core-a -> core-b -> core-a", "c/Containerfile:2: cycle of dependencies: core-c -> core-d -> core-c"}},
		"short way of a knot":      {"a: b\nb: c\nc: a b\n", []string{"a/Containerfile:2: cycle of dependencies: core-a -> core-b -> core-c -> core-a"}},
		"beside an unknown output": {"a: b nothing\nb: a", []string{"a/Containerfile:2: cycle of dependencies: core-a -> core-b -> core-a", `a/Containerfile:3: unknown output "core-nothing"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadTree(plain(test.tree))
			checkError(t, err, prefixed("packages/core/", test.want)...)
			var cycle *graph.CycleError
			if !errors.As(err, &cycle) || cycle.Path[0] != cycle.Path[len(cycle.Path)-1] {
				t.Errorf("cycle = %+v", cycle)
			}
		})
	}
}

// TestFamilyCycle: outputs of one family share all dependencies.
func TestFamilyCycle(t *testing.T) {
	_, err := loadOne("[package]\nname = \"x\"\nsubpackages = [\"a\", \"b\"]\n",
		"FROM scratch AS package-a\nFROM scratch AS package-b\nCOPY --from=stagex/core-a . .\n")
	checkError(t, err, "packages/core/x/Containerfile:3: cycle of dependencies: core-a -> core-a")
}

func TestVersionCycle(t *testing.T) {
	tree := plain("a:\nb:\nc:\nd:")
	for name, from := range map[string]string{"a": "b", "b": "c", "c": "b", "d": "a"} {
		f := tree["packages/core/"+name+"/package.toml"]
		f.Data = fmt.Appendf(f.Data, "version_from = \"core-%s\"\n", from)
	}
	_, err := loadTree(tree)
	checkError(t, err, "packages/core/b/package.toml:3: cycle of version_from: core-b -> core-c -> core-b")
	var file *graph.FileError
	if !errors.As(err, &file) || file.Line != 3 || file.File != "packages/core/b/package.toml" {
		t.Errorf("file = %+v", file)
	}
}

func TestVersionFromWithoutVersion(t *testing.T) {
	tree := plain("a:\nb:")
	f := tree["packages/core/b/package.toml"]
	f.Data = append(f.Data, "version_from = \"core-a\"\n"...)
	_, err := loadTree(tree)
	checkError(t, err, `packages/core/b/package.toml:3: version_from: "core-a" has no version`)
}

// TestErrorsTogether: what is wrong independently is told together, what
// follows from it is not.
func TestErrorsTogether(t *testing.T) {
	_, err := loadTree(graphtest.Tree(base + `
-- packages/core/broken/package.toml --
[package]
name = "broken"
subpackages = ["part", "other"
-- packages/core/broken/Containerfile --
FROM stagex/core-nothing
-- packages/core/hash/package.toml --
[package]
name = "hash"
version = "not a tag"
[sources.a]
hash = "0"
file = "a-{version}"
mirrors = ["https://example.org/"]
-- packages/core/hash/Containerfile --
FROM stagex/core-broken
-- packages/core/user/package.toml --
[package]
name = "user"
version_from = "core-broken"
[sources.a]
hash = "` + hash + `"
file = "a-{version}"
mirrors = ["https://example.org/"]
-- packages/core/user/Containerfile --
FROM stagex/core-part
COPY --from=stagex/core-hash . .
COPY --from=stagex/core-bas . .
COPY --from=stagex/core-bas . .
FROM debian
-- packages/core/No/package.toml --
[package]
name = "No"
-- packages/core/No/Containerfile --
FROM scratch
`))
	checkError(t, err,
		`packages/core/No: output "core-No": not a repository component: want lower-case letters and digits, with single . or _, or hyphens, between them`,
		`packages/core/broken/package.toml:3: reading "package.subpackages": expected a comma (',') or array terminator (']'), but got end of file`,
		`packages/core/hash/package.toml:3: version "not a tag" is not a valid image tag: want up to 128 of letters, digits, . _ -, not beginning with . or -`,
		`packages/core/hash/package.toml:5: source "a": parsing sha256 "0": want 64 hexadecimal digits, got 1 characters`,
		`packages/core/user/Containerfile:3: unknown output "core-bas"; did you mean core-base?`,
		`packages/core/user/Containerfile:4: unknown output "core-bas"; did you mean core-base?`,
		`packages/core/user/Containerfile:5: FROM "debian": neither scratch, fetch, a stage before this one, stagex/<output> nor an image by digest: BuildKit would pull docker.io/library/debian:latest`)
	var unknown *graph.UnknownDependencyError
	if !errors.As(err, &unknown) || unknown.Name != "core-bas" {
		t.Errorf("unknown = %+v", unknown)
	}
}

// TestLongChain goes deeper than any tree will.
func TestLongChain(t *testing.T) {
	const n = 3000
	var b strings.Builder
	b.WriteString("n0:\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "n%d: n%d\n", i, i-1)
	}
	g, err := loadTree(plain(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	order := g.Order([]graph.Ref{{Stage: "core", Name: fmt.Sprintf("n%d", n-1)}})
	if len(order) != n || order[0].Ref.Name != "n0" {
		t.Errorf("order has %d outputs and begins with %v", len(order), order[0])
	}
}

func prefixed(prefix string, lines []string) []string { return located(prefix, lines) }
