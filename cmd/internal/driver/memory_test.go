package driver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

const remembered = `
-- packages/core/libc/package.toml --
[package]
name = "libc"
version = "1.2"
[sources.libc]
hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
format = "tar.gz"
file = "libc-{version}.{format}"
mirrors = ["https://example.org/{file}"]
-- packages/core/libc/Containerfile --
FROM scratch
ADD fetch/libc-1.2.tar.gz .
-- packages/core/libc/patches/a.patch --
a
-- packages/core/tools/package.toml --
[package]
name = "tools"
version_from = "core-libc"
subpackages = ["hammer", "wrench"]
[sources.tools]
hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
file = "tools-{version}.tar"
mirrors = ["https://example.org/{file}"]
-- packages/core/tools/Containerfile --
FROM stagex/core-libc AS build
FROM scratch AS package-hammer
FROM build AS package-wrench
-- packages/user/app/package.toml --
[package]
name = "app"
platforms = ["linux/arm64"]
-- packages/user/app/Containerfile --
ARG BASE=stagex/core-hammer
FROM ${BASE}
COPY --from=stagex/core-libc . /
-- packages/user/half/Containerfile --
FROM scratch
`

// rememberedTree writes the tree above and reads it once with a memory.
func rememberedTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, f := range graphtest.Tree(remembered) {
		edit(t, filepath.Join(dir, path), string(f.Data))
	}
	for range 2 { // the first makes .sx
		if err := openRemembering(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func edit(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// openRemembering opens a tree an hour from now, when no file is too young to be
// remembered.
func openRemembering(t testing.TB, dir string) *tree.View {
	t.Helper()
	tree, err := tree.Open(t.Context(), dir, tree.Options{
		KeyFile: dir + ".key", Build: "test", Now: func() time.Time { return time.Now().Add(time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// describe returns all that a tree says, and the keys of its outputs.
func describe(t *testing.T, tree *tree.View) string {
	t.Helper()
	var b bytes.Buffer
	if err := tree.Graph.WriteJSON(&b, tree.Graph.All(), tree.Graph.Broken()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, tree.Graph.Warnings())
	for _, d := range tree.Graph.Definitions() {
		d := *d
		fmt.Fprintf(&b, "%v %v\n", d.Dir, tree.DefinitionTime(&d))
		d.Containerfile, d.PackageTOML = nil, nil
		fmt.Fprintf(&b, "%+v\n", d)
	}
	for _, ref := range tree.Graph.All() {
		o := tree.Graph.Output(ref)
		key, err := tree.Key(o, o.Request(nil), nil, "probe")
		fmt.Fprintf(&b, "%s %q %v %s %v\n", ref, o.Target, o.Deps, key, err)
	}
	return b.String()
}

// TestMemoryChangesNothing edits a remembered tree in many ways: reading it with the
// memory must give the same result as without.
func TestMemoryChangesNothing(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		change func(t *testing.T, core string)
		reread []string // what is not recalled
	}{
		"nothing": {change: func(*testing.T, string) {}},
		"comment": {func(t *testing.T, core string) {
			edit(t, core+"/tools/Containerfile", "# changed\nFROM stagex/core-libc AS build\nFROM scratch AS package-hammer\nFROM build AS package-wrench\n")
		}, []string{"packages/core/tools"}},
		"version of another": {func(t *testing.T, core string) {
			edit(t, core+"/libc/package.toml", "[package]\nname = \"libc\"\nversion = \"1.3\"\n")
		}, []string{"packages/core/libc", "packages/core/tools"}},
		"subpackages": {func(t *testing.T, core string) {
			edit(t, core+"/tools/package.toml", "[package]\nname = \"tools\"\nsubpackages = [\"hammer\"]\n")
		}, []string{"packages/core/tools"}},
		"patch, same size and mtime": {func(t *testing.T, core string) {
			path := core + "/libc/patches/a.patch"
			info, err := os.Stat(path)
			must(t, err)
			edit(t, path, "b\n")
			must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		}, []string{"packages/core/libc"}},
		"file added": {func(t *testing.T, core string) { edit(t, core+"/libc/patches/b.patch", "") },
			[]string{"packages/core/libc"}},
		"executable": {func(t *testing.T, core string) { must(t, os.Chmod(core+"/libc/patches/a.patch", 0o755)) },
			[]string{"packages/core/libc"}},
		"touched": {change: func(t *testing.T, core string) {
			must(t, os.Chtimes(core+"/libc/Containerfile", time.Now(), time.Now().Add(time.Minute)))
		}},
		"fetched": {change: func(t *testing.T, core string) { edit(t, core+"/libc/fetch/libc-1.2.tar.gz", "x") }},
		"definition added": {func(t *testing.T, core string) {
			edit(t, core+"/new/package.toml", "[package]\nname = \"new\"\n")
			edit(t, core+"/new/Containerfile", "FROM stagex/core-wrench\n")
		}, []string{"packages/core/new"}},
		"definition removed": {change: func(t *testing.T, core string) { must(t, os.RemoveAll(core+"/../user/app")) }},
		"definition became a link": {change: func(t *testing.T, core string) {
			must(t, os.Rename(core+"/../user/app", core+"/../../app"))
			must(t, os.Symlink("../../app", core+"/../user/app"))
		}},
		"definition completed": {func(t *testing.T, core string) {
			edit(t, core+"/../user/half/package.toml", "[package]\nname = \"half\"\n")
		}, []string{"packages/user/half"}},
		"Containerfile gone": {change: func(t *testing.T, core string) { must(t, os.Remove(core+"/../user/app/Containerfile")) }},
		"two changed places": {func(t *testing.T, core string) {
			edit(t, core+"/libc/package.toml", "[package]\nname = \"hammers\"\n")
			must(t, os.Rename(core+"/libc", core+"/hammers"))
			edit(t, core+"/libc/package.toml", "[package]\nname = \"libc\"\nversion = \"1.2\"\n")
			edit(t, core+"/libc/Containerfile", "FROM scratch\n")
		}, []string{"packages/core/hammers", "packages/core/libc"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rememberedTree(t)
			test.change(t, filepath.Join(dir, "packages", "core"))
			tree := openRemembering(t, dir)
			got := describe(t, tree)
			var reread []string
			for _, d := range tree.Graph.Definitions() {
				if tree.Memory.Items(d) == nil {
					reread = append(reread, d.Dir)
				}
			}
			if diff := cmp.Diff(test.reread, reread); diff != "" {
				t.Errorf("read again (-want +got):\n%s", diff)
			}
			must(t, tree.Close())
			again := openRemembering(t, dir)
			if diff := cmp.Diff(got, describe(t, again)); diff != "" {
				t.Errorf("the next run says otherwise:\n%s", diff)
			}
			must(t, again.Close())
			must(t, os.RemoveAll(dir+"/.sx"))
			if diff := cmp.Diff(describe(t, openRemembering(t, dir)), got); diff != "" {
				t.Errorf("recalled (-read +recalled):\n%s", diff)
			}
		})
	}
}

// Errors are those of the files, also for definitions that would be recalled.
func TestMemoryTellsTheSameErrors(t *testing.T) {
	dir := rememberedTree(t)
	edit(t, dir+"/packages/core/tools/package.toml", "[package]\nname = \"tools\"\nversion = \"1\"\nsubpackages = [\"wrench\"]\n")
	recalled, read := brokenIn(t, dir, openMemory(t, dir)), brokenIn(t, dir, nil)
	if read == "" || read != recalled {
		t.Errorf("recalled: %s\nread: %s", recalled, read)
	}
}

func brokenIn(t *testing.T, dir string, memory graph.Memory) string {
	t.Helper()
	g, err := graph.Load(t.Context(), os.DirFS(dir), graph.LoadOptions{Memory: memory})
	if err != nil {
		t.Fatal(err)
	}
	return (&graph.BrokenError{Broken: g.Broken()}).Error()
}

func openMemory(t *testing.T, dir string) graph.Memory {
	t.Helper()
	opts := tree.Options{KeyFile: dir + ".key", Build: "test"}
	store, err := opts.Store(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := tree.NewDefinitions(dir)
	m.Attach(store)
	return m
}

// A build uses the bytes that its key was made of: a definition that was recalled
// and changes before it is read is an error.
func TestMemoryOfWhatIsBuilt(t *testing.T) {
	dir := rememberedTree(t)
	tree := openRemembering(t, dir)
	d := tree.Graph.Output(graph.Ref{Stage: "core", Name: "libc"}).Definition
	if tree.Memory.Items(d) == nil {
		t.Fatal("it was not recalled")
	}
	edit(t, dir+"/packages/core/libc/patches/a.patch", "b\n")
	if _, err := tree.Snapshot(d); err == nil {
		t.Error("other bytes than the key's would be built")
	}
}

// TestGraphWithoutMemory checks that a memory that cannot be saved fails no command.
func TestGraphWithoutMemory(t *testing.T) {
	dir := rememberedTree(t)
	memory := dir + "/.sx/memory/definitions"
	if err := os.Remove(memory); err != nil {
		t.Fatal(err)
	}
	edit(t, memory+"/x", "a folder in its place")
	g, err := tree.LoadGraph(t.Context(), dir, tree.Options{
		KeyFile: dir + ".key", Build: "test", Now: func() time.Time { return time.Now().Add(time.Hour) },
	})
	if err != nil || len(g.All()) == 0 {
		t.Error(err)
	}
}
