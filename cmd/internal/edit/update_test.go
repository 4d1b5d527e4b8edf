package edit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// inMemory is a Tree over a map.
func inMemory(m fstest.MapFS) Tree {
	return Tree{
		Read: func(path string) ([]byte, error) { return fs.ReadFile(m, path) },
		Load: func(ctx context.Context, files map[string][]byte) (*graph.Graph, error) {
			with := fstest.MapFS{}
			for name, f := range m {
				with[name] = f
			}
			for name, data := range files {
				with[name] = &fstest.MapFile{Data: data, Mode: 0o644}
			}
			return graph.Load(ctx, with, graph.LoadOptions{})
		},
	}
}

// finish gives each source a hash, and returns the lines that change: "-old" and
// "+new", by file.
func finish(t *testing.T, e *Edit) string {
	t.Helper()
	for i, s := range e.Sources {
		if err := e.SetHash(i, sha256.Sum256([]byte(s.Path))); err != nil {
			t.Fatal(err)
		}
	}
	files, err := e.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintln(&b, f.Path)
		before, after := strings.Split(string(f.Before), "\n"), strings.Split(string(f.After), "\n")
		if len(before) != len(after) {
			t.Fatalf("%s: %d lines became %d", f.Path, len(before), len(after))
		}
		for i := range before {
			if before[i] != after[i] {
				fmt.Fprintf(&b, "-%s\n+%s\n", before[i], after[i])
			}
		}
	}
	return b.String()
}

const family = `
-- packages/core/x/package.toml --
# X, and what belongs to it
[package]
name = "x"
version = "1.2.3" # bump me
description = "X 1.2.3"
subpackages = ["x", "y"]

[sources.main]
hash = "1111111111111111111111111111111111111111111111111111111111111111"
file = "x-{version}.tar.gz"
mirrors = ["https://example.org/{version_major_minor}/{file}"]

[sources.own]
hash = "2222222222222222222222222222222222222222222222222222222222222222"
version = "7"
file = "own-{version}.txt"
mirrors = ["https://example.org/{file}"]

[sources.patch]
hash = "3333333333333333333333333333333333333333333333333333333333333333"
mirrors = ["https://example.org/fix.patch"]
-- packages/core/x/Containerfile --
FROM scratch AS package-x
# since 1.2.3
ADD fetch/x-1.2.3.tar.gz /
FROM scratch AS package-y
-- packages/pallet/x/package.toml --
[package]
name = "x"
version_from = "core-y"

[sources.doc]
hash = "4444444444444444444444444444444444444444444444444444444444444444"
mirrors = ["https://example.org/doc-{version}.txt"]
-- packages/pallet/x/Containerfile --
FROM scratch
-- packages/user/z/package.toml --
[package]
name = "z"
version_from = "pallet-x"
-- packages/user/z/Containerfile --
FROM scratch
`

// A version is written with the hashes of all that changes with it, here and where the
// version is taken from here; the rest stays, and what a person must look at is said.
func TestUpdate(t *testing.T) {
	e, err := inMemory(graphtest.Tree(family)).Update(t.Context(), "packages/core/x", "1.3.0", "")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`packages/core/x/package.toml
-version = "1.2.3" # bump me
+version = "1.3.0" # bump me
-hash = "1111111111111111111111111111111111111111111111111111111111111111"
+hash = "%x"
packages/pallet/x/package.toml
-hash = "4444444444444444444444444444444444444444444444444444444444444444"
+hash = "%x"
`, sha256.Sum256([]byte("fetch/core/x/x-1.3.0.tar.gz")), sha256.Sum256([]byte("fetch/pallet/x/doc-1.3.0.txt")))
	if got := finish(t, e); got != want {
		t.Errorf("%s", got)
	}
	notes := strings.Join(e.Notes, "\n")
	for _, want := range []string{
		"packages/core/x/package.toml:13: sources.own stays at its own version, 7: --source own updates it",
		"packages/core/x/package.toml:19: sources.patch does not depend on the version, and stays",
		"packages/core/x/Containerfile:3: has 1.2.3 as text: check whether it must change",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in:\n%s", want, notes)
		}
	}
	if got := strings.Join(e.Followers, " "); got != "pallet/x user/z" {
		t.Errorf("followers: %s", got)
	}
	if strings.Contains(notes, "Containerfile:2") {
		t.Errorf("a comment is noted:\n%s", notes)
	}
}

func TestUpdateSource(t *testing.T) {
	e, err := inMemory(graphtest.Tree(family)).Update(t.Context(), "packages/core/x", "8", "own")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`packages/core/x/package.toml
-hash = "2222222222222222222222222222222222222222222222222222222222222222"
+hash = "%x"
-version = "7"
+version = "8"
`, sha256.Sum256([]byte("fetch/core/x/own-8.txt")))
	if got := finish(t, e); got != want {
		t.Errorf("%s", got)
	}
}

// What must not be updated, with the words of the refusal.
func TestUpdateRefuses(t *testing.T) {
	tree := inMemory(graphtest.Tree(family + `
-- packages/user/literal/package.toml --
[package]
name = "literal"
version = "1.2.3"
[sources.main]
hash = "1111111111111111111111111111111111111111111111111111111111111111"
mirrors = ["https://example.org/literal-1.2.3.tar.gz"]
[sources.own]
version = "4.5.6"
hash = "1111111111111111111111111111111111111111111111111111111111111111"
file = "own-4.5.6.tar.gz"
mirrors = ["https://example.org/{file}"]
-- packages/user/literal/Containerfile --
FROM scratch
-- packages/user/wrong/package.toml --
[package]
name = "other"
version = "1"
-- packages/user/wrong/Containerfile --
FROM scratch
`))
	for _, c := range []struct{ dir, version, source, want string }{
		{"packages/pallet/x", "2", "", "sx update core-y 2"},
		{"packages/core/x", "1.2.3", "", "is at 1.2.3 already"},
		{"packages/core/x", "a b", "", "not a valid image tag"},
		{"packages/core/x", "2", "none", "has no [sources.none]; it has main, own, patch"},
		{"packages/core/x", "2", "patch", "sources.patch has no version of its own"},
		{"packages/user/literal", "2", "", "would be the same bytes: write {version} there"},
		{"packages/user/literal", "5", "own", "sources.own has 4.5.6 as text"},
		{"packages/user/wrong", "2", "", `want the folder's, "wrong"`},
	} {
		_, err := tree.Update(t.Context(), c.dir, c.version, c.source)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	var same *SameError
	if _, err := tree.Update(t.Context(), "packages/core/x", "7", "own"); !errors.As(err, &same) {
		t.Errorf("%v", err)
	}
}

// A version that breaks what takes it is refused: the name of a file may come to hold a
// slash.
func TestUpdateBreaksOthers(t *testing.T) {
	tree := inMemory(graphtest.Tree(family + `
-- packages/user/short/package.toml --
[package]
name = "short"
version_from = "core-x"
[sources.x]
hash = "1111111111111111111111111111111111111111111111111111111111111111"
file = "{version_major}"
mirrors = ["https://example.org/{version_major}"]
[sources.y]
hash = "2222222222222222222222222222222222222222222222222222222222222222"
file = "2"
mirrors = ["https://example.org/y"]
-- packages/user/short/Containerfile --
FROM scratch
`))
	_, err := tree.Update(t.Context(), "packages/core/x", "2.0", "")
	var broken *graph.BrokenError
	if !errors.As(err, &broken) || !strings.Contains(err.Error(), "packages/user/short/package.toml") {
		t.Errorf("%v", err)
	}
}

// A hash that is missing, empty or wrong is written, and others only if they are asked
// for.
func TestHashes(t *testing.T) {
	m := graphtest.Tree(`
-- packages/core/x/package.toml --
[package]
name = "x"
version = "1"
[sources.a]
hash = ""
mirrors = ["https://example.org/a-{version}"]
[sources.b] # the second
mirrors = ["https://example.org/b"]
[sources.c]
hash = "1111111111111111111111111111111111111111111111111111111111111111"
mirrors = ["https://example.org/c"]
-- packages/core/x/Containerfile --
FROM scratch
`)
	e, err := inMemory(m).Hashes(t.Context(), "packages/core/x", nil)
	if err != nil || len(e.Sources) != 3 || e.Sources[0].Was != "" || e.Sources[0].Name() != "core/x: a" {
		t.Fatalf("%+v, %v", e, err)
	}
	for i := range e.Sources {
		if err := e.SetHash(i, graph.Hash{byte(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := e.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		`hash = ""`, `hash = "01`+strings.Repeat("0", 62)+`"`,
		"# the second\n", "# the second\nhash = \"02"+strings.Repeat("0", 62)+"\"\n",
		strings.Repeat("1", 64), "03"+strings.Repeat("0", 62),
	).Replace(string(m["packages/core/x/package.toml"].Data))
	if len(files) != 1 || string(files[0].After) != want {
		t.Errorf("%s", files[0].After)
	}
	// The hashes of sources that were not asked for stay missing.
	if e, err = e.tree.Hashes(t.Context(), "packages/core/x", []string{"c"}); err != nil || len(e.Sources) != 1 {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := e.SetHash(0, graph.Hash{3}); err != nil {
		t.Fatal(err)
	}
	files, err = e.Finish(t.Context())
	want = strings.Replace(string(m["packages/core/x/package.toml"].Data), strings.Repeat("1", 64), "03"+strings.Repeat("0", 62), 1)
	if err != nil || len(files) != 1 || string(files[0].After) != want {
		t.Errorf("%v\n%s", err, files[0].After)
	}
	if _, err := e.tree.Hashes(t.Context(), "packages/core/x", []string{"d"}); err == nil || !strings.Contains(err.Error(), "it has a, b, c") {
		t.Errorf("%v", err)
	}
}

func TestNamesVersion(t *testing.T) {
	for text, want := range map[string]bool{
		"x-1.2.3.tar": true, "v1.2.3": true, "1.2.3": true, "in 1.2.3.": true, "11.2.3": false, "1.2.30": false, "1.2.3.4": false, "1.2": false,
	} {
		if namesVersion(text, "1.2.3") != want {
			t.Errorf("%q: want %t", text, want)
		}
	}
	if namesVersion("x 30", "30") {
		t.Error("a number is taken for a version")
	}
}
