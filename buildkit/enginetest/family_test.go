package enginetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// aFamily is nine outputs of one compile, whose result differs each time.
func aFamily(t *testing.T) *Tree {
	var names []string
	file := "FROM scratch AS build\nCOPY tool /tool\nRUN --network=none [\"/tool\", \"random\", \"/made\"]\n"
	for i := range 9 {
		names = append(names, fmt.Sprintf("%q", fmt.Sprint("m", i)))
		file += fmt.Sprintf("FROM scratch AS package-m%d\nCOPY --from=build /made /\n", i)
	}
	return NewTree(t, programs, "", fmt.Sprintf(`
-- packages/core/many/package.toml --
[package]
name = "many"
subpackages = [%s]
-- packages/core/many/Containerfile --
%s`, strings.Join(names, ", "), file))
}

// compiled returns the one layer that all members have.
func (t *Tree) compiled() string {
	t.t.Helper()
	blobs, err := filepath.Glob(t.Path("out/core-m*/blobs/sha256/*"))
	t.must(err)
	layers := map[string]int{}
	for _, path := range blobs {
		data, err := os.ReadFile(path)
		t.must(err)
		if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			layers[filepath.Base(path)]++
		}
	}
	for layer, members := range layers {
		if members == 9 {
			return layer
		}
	}
	t.t.Fatalf("%d compiles for one family", len(layers))
	return ""
}

// A family shares one compile in every kind of build. Without a cache it does
// because its members start together: the engine shares running steps.
func TestFamilyCompilesOnce(t *testing.T) {
	t.Parallel()
	tree := aFamily(t)
	tree.Sx("build", "--all", "-j", "1")
	first := tree.compiled()
	seen := map[string]bool{first: true}
	for range 3 {
		tree.Sx("build", "--all", "--no-cache")
		again := tree.compiled()
		if seen[again] {
			t.Error("--no-cache did not compile again")
		}
		seen[again] = true
	}
	if tree.Sx("build", "--all", "--rebuild"); !seen[tree.compiled()] {
		t.Error("--rebuild compiled again")
	}
}
