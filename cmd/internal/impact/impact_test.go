package impact

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// past is a tree as it was: the definitions that differ, and digests.
type past struct {
	differs map[string][]string
	folders []string
	digests cache.Published
	err     error
}

func (p past) Differences(dir string, _ []graph.File) ([]string, error) { return p.differs[dir], p.err }

func (p past) Folders(dir, file string) (names []string, err error) {
	if file != "package.toml" {
		return nil, nil
	}
	for _, f := range p.folders {
		if name, ok := strings.CutPrefix(f, dir+"/"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

func (p past) Digests(stage string) (cache.Published, error) {
	lines := cache.Published{}
	for name, d := range p.digests {
		if strings.HasPrefix(name, stage+"-") {
			lines[name] = d
		}
	}
	return lines, nil
}

func digest(n int) oci.Digest {
	d, err := oci.ParseDigest(fmt.Sprintf("sha256:%064d", n))
	if err != nil {
		panic(err)
	}
	return d
}

// now is core-a <- core-b <- user-d, core-c alone, whose version is that of core-a's
// definition; user-e is broken.
func now(t *testing.T) Now {
	t.Helper()
	tree := fstest.MapFS{}
	add := func(dir, containerfile, manifest string) {
		tree["packages/"+dir+"/Containerfile"] = &fstest.MapFile{Data: []byte(containerfile)}
		tree["packages/"+dir+"/package.toml"] = &fstest.MapFile{Data: []byte(manifest)}
	}
	add("core/a", "FROM scratch\n", "[package]\nname = \"a\"\nversion = \"1\"\n")
	add("core/b", "FROM scratch\nCOPY --from=stagex/core-a . /\n", "[package]\nname = \"b\"\n")
	add("core/c", "FROM scratch\n", "[package]\nname = \"c\"\nversion_from = \"core-a\"\n")
	add("user/d", "FROM stagex/core-b\n", "[package]\nname = \"d\"\n")
	add("user/e", "FROM stagex/core-none\n", "[package]\nname = \"e\"\n")
	g, err := graph.Load(t.Context(), tree, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return Now{Graph: g, Published: cache.Published{"core-a": digest(1), "core-b": digest(2), "user-d": digest(4)},
		Files: func(dir string) ([]graph.File, error) { return nil, nil }}
}

var before = []string{"packages/core/a", "packages/core/b", "packages/core/c", "packages/user/d", "packages/user/e"}

func describe(i Impact) (lines []string) {
	for _, c := range i.Changes {
		lines = append(lines, fmt.Sprint(c.Kind, " ", c.Definition, " ", c.Files, c.Broken))
	}
	for _, g := range i.Gone {
		lines = append(lines, "gone "+g)
	}
	for _, o := range i.Outputs {
		via := "-"
		if o.Via != nil {
			via = o.Via.String()
		}
		lines = append(lines, fmt.Sprint(o.Ref, " ", o.Depth, " ", via, " ", o.Digest))
	}
	return lines
}

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		past past
		want []string
	}{
		"nothing": {past{folders: before, digests: cache.Published{"core-a": digest(1)}}, nil},
		"a leaf":  {past{folders: before, differs: map[string][]string{"packages/user/d": {"Containerfile"}}}, []string{"changed packages/user/d [Containerfile] false", "user-d 0 - updated"}},
		"the base, whose version another takes": {past{folders: before, differs: map[string][]string{"packages/core/a": {"package.toml"}},
			digests: cache.Published{"core-a": digest(1), "core-b": digest(9)}},
			[]string{"changed packages/core/a [package.toml] false", "core-a 0 - kept", "core-b 1 core-a updated", "core-c 1 core-a none", "user-d 2 core-b updated"}},
		"one that was added":     {past{folders: before[1:]}, []string{"added packages/core/a [] false", "core-a 0 - updated", "core-b 1 core-a updated", "core-c 1 core-a none", "user-d 2 core-b updated"}},
		"one that is gone":       {past{folders: append([]string{"packages/user/z"}, before...), digests: cache.Published{"user-z": digest(5), "user-e": digest(6)}}, []string{"removed packages/user/z [] false", "gone user-z"}},
		"one that is broken now": {past{folders: before, differs: map[string][]string{"packages/user/e": {"x"}}}, []string{"changed packages/user/e [x] true"}},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := Find(now(t), c.past)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, describe(i)); diff != "" {
				t.Error(diff)
			}
		})
	}
	damaged := errors.New("damaged")
	if _, err := Find(now(t), past{folders: before, err: damaged}); !errors.Is(err, damaged) {
		t.Errorf("got %v", err)
	}
}

// unreadable is a tree of which one stage cannot be read.
type unreadable struct {
	fstest.MapFS
	stage string
}

func (u unreadable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == u.stage {
		return nil, errors.New("input/output error")
	}
	return u.MapFS.ReadDir(name)
}

// Of a stage that cannot be read nothing is known: its definitions were not removed.
func TestFindWithoutAStage(t *testing.T) {
	tree := unreadable{fstest.MapFS{
		"packages/core/a/Containerfile": {Data: []byte("FROM scratch\n")},
		"packages/core/a/package.toml":  {Data: []byte("[package]\nname = \"a\"\n")},
		"packages/user/d/Containerfile": {Data: []byte("FROM scratch\n")},
		"packages/user/d/package.toml":  {Data: []byte("[package]\nname = \"d\"\n")},
	}, "packages/user"}
	g, err := graph.Load(t.Context(), tree, graph.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := Find(Now{Graph: g, Files: func(string) ([]graph.File, error) { return nil, nil }}, past{folders: []string{"packages/core/a", "packages/user/d"}})
	if err != nil || len(i.Changes) > 0 {
		t.Errorf("%v, %v", describe(i), err)
	}
}

// What a tree calls its files cannot be Markdown, HTML or a terminal's commands.
func TestPrint(t *testing.T) {
	r := Report{Commit: "1234 of 2026-11-30", Is: "where HEAD left origin/main", Fetch: 2, Time: Time{time.Hour, time.Minute, 2 * time.Minute, 2, 1},
		Impact: Impact{
			Changes: []Change{{Definition: "packages/core/a", Kind: Changed, Files: []string{"<b>|x\x1b[2J", "2", "3", "4", "5", "6"}}},
			Outputs: []Output{{Ref: graph.Ref{Stage: "core", Name: "a"}, Digest: Kept, Seconds: 90}, {Ref: graph.Ref{Stage: "core", Name: "b"}, Depth: 1, Via: &graph.Ref{Stage: "core", Name: "a"}, Digest: None}},
		}}
	var plain, markdown strings.Builder
	if err := errors.Join(r.Print(&plain), r.Markdown(&markdown)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`since 1234 of 2026-11-30 (where HEAD left origin/main)
changed  packages/core/a: <b>|x\x1b[2J, 2, 3, 4, 5 and 1 more
build    core-a: its definition changed (took 1m30s)
build    core-b: through core-a; not in digests/
at most 2 outputs to build again; 1 digest in digests/ may change
2 sources to fetch
about 1h0m0s of work, 1m0s on the longest path, 2m0s with -j 2 (1 of them never built here: estimated)
`, plain.String()); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"<b>", "|x", "\x1b"} {
		if strings.Contains(markdown.String(), bad) {
			t.Errorf("Markdown has %q", bad)
		}
	}
	if !strings.Contains(markdown.String(), "| core-b | core-a | none |  |\n") {
		t.Error(markdown.String())
	}
}
