package edit

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/lint"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// create makes a definition in a copy of the example tree.
func create(t *testing.T, ref graph.Ref, from string) (root string, f *Folder, err error) {
	t.Helper()
	root = t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "packages"), os.DirFS("../../../examples/packages")); err != nil {
		t.Fatal(err)
	}
	f, err = inFolder(root).Create(t.Context(), os.DirFS(root), ref, from)
	return root, f, err
}

// toFillIn returns what lint finds in a new definition, after it was written.
func toFillIn(t *testing.T, root string, f *Folder) (found []string) {
	t.Helper()
	if err := f.Write(root, filepath.Join(root, "nosuch")); err != nil {
		t.Fatal(err)
	}
	g, err := graph.Load(t.Context(), os.DirFS(root), graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := lint.Run(t.Context(), lint.Subject{Tree: os.DirFS(root), Graph: g, Definitions: g.Definitions(), Broken: g.Broken(), Folders: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range all {
		if finding.Level == lint.Note {
			continue
		}
		if !strings.HasPrefix(finding.File, f.Dir+"/") || finding.Rule != "missing-field" {
			t.Errorf("%+v", finding)
		}
		word, _, _ := strings.Cut(finding.Message, " ")
		found = append(found, word)
	}
	return found
}

// A copy is the other definition but for its name and the words about it, which lint
// finds.
func TestCreateFrom(t *testing.T) {
	root, f, err := create(t, graph.Ref{Stage: "user", Name: "hello2"}, "packages/user/hello")
	if err != nil {
		t.Fatal(err)
	}
	if got := toFillIn(t, root, f); !slices.Equal(got, []string{"package.description", "package.license", "package.website"}) {
		t.Errorf("%q", got)
	}
	made := filepath.Join(root, f.Dir)
	want := strings.NewReplacer(`"hello"`, `"hello2"`, `"A greeting made of two sources"`, `"TODO"`, `"Apache-2.0"`, `"TODO"`, `"https://codeberg.org/stagex/sx"`, `"TODO"`).
		Replace(read(t, filepath.Join(root, "packages/user/hello/package.toml")))
	if got := read(t, filepath.Join(made, "package.toml")); got != want {
		t.Errorf("%s", got)
	}
	for _, same := range []string{"Containerfile", "expected.txt"} {
		if read(t, filepath.Join(made, same)) != read(t, filepath.Join(root, "packages/user/hello", same)) {
			t.Errorf("%s differs", same)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "packages/.sx*")); len(left) > 0 {
		t.Errorf("%s is left", left)
	}
}

// Modes, folders and links are copied; a family loses its subpackages, which are taken.
func TestCreateFromOthers(t *testing.T) {
	root, f, err := create(t, graph.Ref{Stage: "bootstrap", Name: "seed2"}, "packages/bootstrap/seed")
	if err != nil {
		t.Fatal(err)
	}
	toFillIn(t, root, f)
	if info, err := os.Stat(filepath.Join(root, f.Dir, "hex0-seed")); err != nil || info.Mode() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if root, f, err = create(t, graph.Ref{Stage: "core", Name: "filesystem2"}, "packages/core/filesystem"); err != nil {
		t.Fatal(err)
	}
	toFillIn(t, root, f)
	links := 0
	filepath.WalkDir(filepath.Join(root, f.Dir), func(_ string, d fs.DirEntry, _ error) error {
		if d.Type()&fs.ModeSymlink != 0 {
			links++
		}
		return nil
	})
	if links == 0 {
		t.Error("no link was copied")
	}
	if root, f, err = create(t, graph.Ref{Stage: "core", Name: "tools2"}, "packages/core/tools"); err != nil {
		t.Fatal(err)
	}
	toFillIn(t, root, f)
	if len(f.Notes) != 1 || strings.Contains(read(t, filepath.Join(root, f.Dir, "package.toml")), "subpackages") {
		t.Errorf("%q", f.Notes)
	}
}

// A skeleton can be read, and lint says what to fill in.
func TestCreateSkeleton(t *testing.T) {
	for _, stage := range []string{"bootstrap", "user"} {
		root, f, err := create(t, graph.Ref{Stage: stage, Name: "x"}, "")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"package.version", "package.description", "package.license", "package.website", "sources.x.hash", "sources.x"}
		if got := toFillIn(t, root, f); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
	m := graphtest.Tree("-- packages/pallet/clang-gnu-busybox/package.toml --\n[package]\nname = \"clang-gnu-busybox\"\n-- packages/pallet/clang-gnu-busybox/Containerfile --\nFROM scratch\n")
	f, err := inMemory(m).Create(t.Context(), m, graph.Ref{Stage: "user", Name: "x"}, "")
	if err != nil || !strings.HasPrefix(string(f.Files[0].Data), "FROM stagex/pallet-clang-gnu-busybox AS build\n") || len(f.Notes) > 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

// Nothing that exists is replaced.
func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		ref        graph.Ref
		from, want string
	}{
		{graph.Ref{Stage: "user", Name: "hello"}, "", "packages/user/hello: exists already"},
		{graph.Ref{Stage: "core", Name: "upper"}, "", "packages/core/tools: has the output core-upper already"},
		{graph.Ref{Stage: "user", Name: "x"}, "packages/user/none", "is not a definition"},
	} {
		if _, _, err := create(t, c.ref, c.from); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.ref, err)
		}
	}
	root, f, err := create(t, graph.Ref{Stage: "user", Name: "x"}, "")
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(root, f.Dir, "precious")
	if err := os.MkdirAll(there, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(root, filepath.Join(root, "nosuch")); err == nil {
		t.Error("it was written over what came meanwhile")
	}
	if _, err := os.Stat(there); err != nil {
		t.Error(err)
	}
}
