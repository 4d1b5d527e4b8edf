package graph_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
	"github.com/google/go-cmp/cmp"
)

const exampleTree = `
-- packages/README.md --
not a stage
-- packages/bootstrap/stage0/package.toml --
[package]
name = "stage0"
platforms = ["linux/386"]
-- packages/bootstrap/stage0/Containerfile --
FROM scratch
-- packages/core/lua-jit/package.toml --
[package]
name = "lua-jit"
version = "5.4-rc.1"
description = "A language"
license = "MIT"
website = "https://example.org"

[sources.lua_jit]
hash = "` + hash + `"
format = "tar.gz"
file = "lua-{version}.{format}"
mirrors = ["https://example.org/{version_major_minor}/{file}", "http://example.com/v{version_strip_suffix}/{file}"]

[sources.patches]
hash = "` + hash + `"
version = "7.8.9"
git_sha = "73712a01b2de56d9ad91e3b6936f85c90cb7de36"
file = "p-{version}-{version_dash}-{version_under}.tar"
mirrors = ["https://example.org/{version_major}/{version_under}/{file}?a={version_dash}"]

[sources.plain]
hash = "` + hash + `"
mirrors = ["https://example.org/a/plain%20{version}.tgz?x=/no#/no"]
-- packages/core/lua-jit/Containerfile --
FROM --platform=linux/386 stagex/bootstrap-stage0 AS build
ADD fetch/lua-${VERSION}.tar.gz .
-- packages/user/tools/package.toml --
[package]
name = "tools"
version_from = "pallet-lua"
subpackages = ["wrench", "hammer_time"]
-- packages/user/tools/Containerfile --
FROM scratch AS build
COPY --chmod=755 --from=stagex/core-lua-jit --chown=0:0 . /
COPY --from=stagex/bootstrap-stage0 . /
COPY --from=stagex/core-lua-jit /again /
FROM scratch AS package-hammer_time
FROM build AS package-wrench
-- packages/pallet/lua/package.toml --
[package]
name = "lua"
version_from = "core-lua-jit"
-- packages/pallet/lua/Containerfile --
FROM stagex/core-lua-jit
`

func TestLoadOutputs(t *testing.T) {
	g := mustLoad(t, exampleTree)
	want := []string{"bootstrap-stage0", "core-lua-jit", "pallet-lua", "user-hammer_time", "user-wrench"}
	if diff := cmp.Diff(want, names(g.All())); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	wrench := g.Output(graph.Ref{Stage: "user", Name: "wrench"})
	if wrench.Target != "package-wrench" || wrench.Version != "5.4-rc.1" || wrench.Tag() != "5.4-rc.1" {
		t.Errorf("wrench = %+v", wrench)
	}
	if want := []string{"bootstrap-stage0", "core-lua-jit"}; !slices.Equal(names(wrench.Deps), want) {
		t.Errorf("deps = %v, want %v", wrench.Deps, want)
	}
	d := wrench.Definition
	if d.Dir != "packages/user/tools" || d.Name != "tools" || d.Fetch() != "fetch/user/tools" || len(d.Outputs) != 2 {
		t.Errorf("definition = %+v", d)
	}
	if tag := g.Output(graph.Ref{Stage: "bootstrap", Name: "stage0"}).Tag(); tag != "latest" {
		t.Errorf("tag = %q, want latest", tag)
	}
	if g.Output(graph.Ref{Stage: "user", Name: "tools"}) != nil {
		t.Error("the origin of a family is an output")
	}
	if len(g.Warnings()) != 0 {
		t.Errorf("warnings = %q", g.Warnings())
	}
}

func TestLoadSources(t *testing.T) {
	d := mustLoad(t, exampleTree).Output(graph.Ref{Stage: "core", Name: "lua-jit"}).Definition
	sum, _ := graph.ParseHash(hash)
	want := []graph.Source{
		{
			Key: "lua_jit", File: "lua-5.4-rc.1.tar.gz", Path: "fetch/core/lua-jit/lua-5.4-rc.1.tar.gz", Hash: sum, Format: "tar.gz",
			Mirrors: []string{"https://example.org/5.4-rc/lua-5.4-rc.1.tar.gz", "http://example.com/v5.4/lua-5.4-rc.1.tar.gz"},
		},
		{
			Key: "patches", File: "p-7.8.9-7-8-9-7_8_9.tar", Path: "fetch/core/lua-jit/p-7.8.9-7-8-9-7_8_9.tar", Hash: sum,
			Mirrors: []string{"https://example.org/7/7_8_9/p-7.8.9-7-8-9-7_8_9.tar?a=7-8-9"},
			Version: "7.8.9", GitSHA: "73712a01b2de56d9ad91e3b6936f85c90cb7de36", ArgFile: "p-7.8.9-5-4-rc-1-5_4-rc_1.tar",
		},
		{
			Key: "plain", File: "plain%205.4-rc.1.tgz", Path: "fetch/core/lua-jit/plain%205.4-rc.1.tgz", Hash: sum,
			Mirrors: []string{"https://example.org/a/plain%205.4-rc.1.tgz?x=/no#/no"},
		},
	}
	if diff := cmp.Diff(want, d.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if d.License != "MIT" || d.Description != "A language" || d.Website != "https://example.org" {
		t.Errorf("definition = %+v", d)
	}
}

func TestRequest(t *testing.T) {
	g := mustLoad(t, exampleTree)
	got := g.Output(graph.Ref{Stage: "core", Name: "lua-jit"}).Request([]string{"linux/arm64", "linux/amd64"})
	want := graph.Request{
		Context: "packages/core/lua-jit", File: "packages/core/lua-jit/Containerfile", Fetch: "fetch/core/lua-jit",
		Platforms: []string{"linux/arm64", "linux/amd64"},
		BuildArgs: map[string]string{
			"SOURCE_DATE_EPOCH": "1", "BUILDKIT_MULTI_PLATFORM": "1",
			"BUILDKIT_DOCKERFILE_CHECK": "skip=FromPlatformFlagConstDisallowed;error=true",
			"VERSION":                   "5.4-rc.1", "VERSION_UNDER": "5_4-rc_1", "VERSION_DASH": "5-4-rc-1", "VERSION_MAJOR": "5",
			"VERSION_MAJOR_MINOR": "5.4-rc", "VERSION_STRIP_SUFFIX": "5.4",
			"PATCHES_VERSION": "7.8.9", "PATCHES_SOURCE": "p-7.8.9-5-4-rc-1-5_4-rc_1.tar",
			"PATCHES_GIT_SHA": "73712a01b2de56d9ad91e3b6936f85c90cb7de36",
		},
		Contexts: map[string]string{"stagex/bootstrap-stage0": "out/bootstrap-stage0"},
		Tags:     []string{"stagex/core-lua-jit:5.4-rc.1"},
		Annotations: map[string]string{
			"containerd.io/distribution.source.docker.io": "stagex/core-lua-jit",
			"org.opencontainers.image.version":            "5.4-rc.1",
			"org.opencontainers.image.created":            "1970-01-01T00:00:01Z",
		},
		Ulimits: []string{"nofile=2048:16384"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	forced := g.Output(graph.Ref{Stage: "bootstrap", Name: "stage0"}).Request([]string{"linux/arm64"})
	if want := []string{"linux/386"}; !slices.Equal(forced.Platforms, want) {
		t.Errorf("forced platforms = %v, want %v", forced.Platforms, want)
	}
	plain := g.Output(graph.Ref{Stage: "user", Name: "wrench"}).Request(nil)
	if want := []string{graph.DefaultPlatform}; !slices.Equal(plain.Platforms, want) || plain.Target != "package-wrench" {
		t.Errorf("platforms = %v, target %q", plain.Platforms, plain.Target)
	}
}

// TestVersionWithoutDot: upstream passes the text None for what is not there.
func TestVersionWithoutDot(t *testing.T) {
	g, err := loadOne("[package]\nname = \"x\"\nversion = \"20\"\n", "FROM scratch\n")
	if err != nil {
		t.Fatal(err)
	}
	args := g.Output(graph.Ref{Stage: "core", Name: "x"}).Request(nil).BuildArgs
	if got, ok := args["VERSION_MAJOR_MINOR"]; !ok || got != "" {
		t.Errorf("VERSION_MAJOR_MINOR = %q, %v; want it empty", got, ok)
	}
	if args["VERSION_MAJOR"] != "20" {
		t.Errorf("VERSION_MAJOR = %q", args["VERSION_MAJOR"])
	}
}

func TestLoadSkips(t *testing.T) {
	tree := graphtest.Tree(base + `
-- packages/user/mesa/Containerfile --
FROM stagex/core-nothing
-- packages/user/half/package.toml --
[package]
-- packages/core/leftover/fetch/file --
-- packages/extra/thing/Containerfile --
-- packages/.hidden/thing/Containerfile --
-- packages/core/file --
`)
	link := &fstest.MapFile{Data: []byte("base"), Mode: fs.ModeSymlink | 0o777}
	tree["packages/core/alias"] = link
	tree["packages/pallet"] = link
	g, err := loadTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"packages/core/alias is a symbolic link: skipped",
		"packages/extra is none of the stages bootstrap, core, pallet, user: skipped",
		"packages/pallet is a symbolic link: skipped",
		"packages/user/half has no Containerfile: skipped",
		"packages/user/mesa has no package.toml: skipped",
	}
	if diff := cmp.Diff(want, g.Warnings()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if want := []string{"core-base"}; !slices.Equal(names(g.All()), want) {
		t.Errorf("outputs = %v, want %v", g.All(), want)
	}
}

// TestSkippedIsNeeded: who needs what is skipped learns that it is there.
func TestSkippedIsNeeded(t *testing.T) {
	tree := graphtest.Tree(base + `
-- packages/core/greetings/package.toml --
[package]
name = "greetings"
-- packages/core/tools/package.toml --
[package]
name = "tools"
subpackages = ["wrench"]
-- packages/core/spoilt/package.toml --
[[[
-- packages/user/mesa/Containerfile --
FROM scratch
-- packages/user/empty/README --
-- packages/core/x/package.toml --
[package]
name = "x"
version_from = "core-greetings"
-- packages/core/x/Containerfile --
FROM stagex/core-greetings
FROM stagex/core-wrench
FROM stagex/core-spoilt
FROM stagex/user-mesa
FROM stagex/user-empty
FROM stagex/core-alias
FROM stagex/pallet-rust
FROM stagex/core-tools
`)
	link := &fstest.MapFile{Data: []byte("base"), Mode: fs.ModeSymlink | 0o777}
	tree["packages/core/alias"] = link
	tree["packages/pallet"] = link
	_, err := loadTree(tree)
	const at = "packages/core/x/Containerfile:"
	checkError(t, err,
		at+`1: unknown output "core-greetings": packages/core/greetings is skipped, it has no Containerfile`,
		at+`2: unknown output "core-wrench": packages/core/tools is skipped, it has no Containerfile`,
		at+`3: unknown output "core-spoilt": packages/core/spoilt is skipped, it has no Containerfile`,
		at+`4: unknown output "user-mesa": packages/user/mesa is skipped, it has no package.toml`,
		at+`5: unknown output "user-empty": packages/user/empty is skipped, it has no Containerfile and no package.toml`,
		at+`6: unknown output "core-alias": packages/core/alias is skipped, it is a symbolic link`,
		at+`7: unknown output "pallet-rust": packages/pallet is skipped, it is a symbolic link`,
		at+`8: unknown output "core-tools"`,
		`packages/core/x/package.toml:3: version_from: unknown output "core-greetings": packages/core/greetings is skipped, it has no Containerfile`)
}

func TestLoadWithoutPackages(t *testing.T) {
	_, err := loadTree(fstest.MapFS{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error = %v, want %v", err, fs.ErrNotExist)
	}
}

func TestLoadCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := graph.Load(ctx, graphtest.Generate(20), graph.LoadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
}

// TestLoadIsDeterministic: however the goroutines take turns.
func TestLoadIsDeterministic(t *testing.T) {
	tree := graphtest.Generate(60)
	tree["packages/core/p00007/package.toml"].Data = []byte("nonsense")
	tree["packages/core/p00009/Containerfile"].Data = []byte("FROM nowhere\n")
	var first string
	for jobs := range 8 {
		g, err := graph.Load(context.Background(), tree, graph.LoadOptions{Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if err := g.WriteJSON(&got, g.All(), g.Broken()); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = got.String()
		}
		if got.String() != first {
			t.Errorf("with %d jobs:\n%v\nbefore:\n%v", jobs, got.String(), first)
		}
	}
}

// What no build context can hold is found when the tree is loaded, not hours
// later.
func TestLoadChecksFolders(t *testing.T) {
	tree := graphtest.Tree(base)
	at := "packages/core/base/files/"
	for name, target := range map[string]string{"inside": "../Containerfile", "nowhere": "gone", "mtab": "/proc/mounts", "loop": "loop", "out": "../../other"} {
		tree[at+name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	tree["packages/core/other/fetch"] = &fstest.MapFile{Data: []byte("/elsewhere"), Mode: fs.ModeSymlink | 0o777}
	for _, name := range []string{"Containerfile", "package.toml"} {
		data := strings.ReplaceAll(string(tree["packages/core/base/"+name].Data), "base", "other")
		tree["packages/core/other/"+name] = &fstest.MapFile{Data: []byte(data)}
	}
	if _, err := loadTree(tree); err != nil {
		t.Fatal(err)
	}
	tree[at+"link"] = &fstest.MapFile{Data: []byte("caf\xe9"), Mode: fs.ModeSymlink | 0o777}
	tree[at+"pipe"] = &fstest.MapFile{Mode: fs.ModeNamedPipe | 0o644}
	tree["packages/core/base/fetch/pipe"] = &fstest.MapFile{Mode: fs.ModeNamedPipe | 0o644} // not part of it
	_, err := loadTree(tree)
	checkError(t, err,
		at+`link: it is a link to a name that is not UTF-8`,
		at+`pipe: neither a file, a folder nor a link (p---------)`)
}
