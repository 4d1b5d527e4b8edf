package graph_test

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
)

const selectionTree = `
-- packages/core/rust/package.toml --
[package]
name = "rust"
-- packages/core/rust/Containerfile --
FROM scratch
-- packages/pallet/rust/package.toml --
[package]
name = "rust"
-- packages/pallet/rust/Containerfile --
FROM stagex/core-rust
-- packages/user/mesa/Containerfile --
FROM scratch
-- packages/user/linux/package.toml --
[package]
name = "linux"
version = "6.1"
subpackages = ["linux-guest", "core"]
-- packages/user/linux/Containerfile --
FROM stagex/pallet-rust AS package-linux-guest
FROM scratch AS package-core
`

func TestSelect(t *testing.T) {
	g := mustLoad(t, selectionTree)
	for selectors, want := range map[string]string{
		"":                      "",
		"core-rust":             "core-rust",
		"rust":                  "core-rust pallet-rust",
		"core":                  "core-rust",
		"user-core":             "user-core",
		"pallet":                "pallet-rust",
		"bootstrap":             "",
		"*-rust":                "core-rust pallet-rust",
		"user-*":                "user-core user-linux-guest",
		"*":                     "core-rust pallet-rust user-core user-linux-guest",
		"[cp]*-rus?":            "core-rust pallet-rust",
		"core/rust":             "core-rust",
		"user/linux-guest":      "user-linux-guest",
		"user/linux":            "user-core user-linux-guest",
		"*/rust":                "core-rust pallet-rust",
		"rust core-rust pallet": "core-rust pallet-rust",
		"packages/core/rust":    "core-rust",
		"./packages/core/rust":  "core-rust",
		"packages/core/rust/":   "core-rust",
		".//./core/rust//":      "core-rust",
		"core/rust/":            "core-rust",
		"packages/user/linux":   "user-core user-linux-guest",
		"user/linux/":           "user-core user-linux-guest",
		"user/core":             "user-core",
		"packages/pallet/":      "pallet-rust",
		"pallet/":               "pallet-rust",
		"./core-rust":           "core-rust",
		"packages/*/rust":       "core-rust pallet-rust",
		"packages/user/*":       "user-core user-linux-guest",

		"stagex/core-rust":                      "core-rust",
		"stagex/core-rust:latest":               "core-rust",
		"docker.io/stagex/user-linux-guest:6.1": "user-linux-guest",
		"quay.io/stagex/core-rust":              "core-rust",
		"user-linux-guest:6.1":                  "user-linux-guest",
		"core-rust:local":                       "core-rust",
		"out/core-rust":                         "core-rust",
		"./out/core-rust/":                      "core-rust",
		"out/core-rust/blobs/sha256/00":         "core-rust",
		"out/*-rust":                            "core-rust pallet-rust",
		"fetch/user/linux/linux-6.1.tar.xz":     "user-core user-linux-guest",
		"packages/user/linux/Containerfile":     "user-core user-linux-guest",
		"packages/core/rust/files/a.patch":      "core-rust",
	} {
		got, _, err := g.Select(strings.Fields(selectors))
		if err != nil {
			t.Errorf("Select(%q): %v", selectors, err)
		}
		if got := strings.Join(names(got), " "); got != want {
			t.Errorf("Select(%q) = %s, want %s", selectors, got, want)
		}
	}
}

func TestSelectErrors(t *testing.T) {
	g := mustLoad(t, selectionTree)
	for selector, want := range map[string]string{
		"user-linux-guest:6.0":         `selecting "user-linux-guest:6.0": user-linux-guest is version 6.1 in this tree`,
		"stagex/core-rust:1.90":        `selecting "stagex/core-rust:1.90": core-rust has no version in this tree`,
		"stagex/core-rsut":             `selecting "stagex/core-rsut": no such target; did you mean core-rust?`,
		"core-rust@sha256:00":          `selecting "core-rust@sha256:00": it names an image by its digest, and a selector what the tree builds: leave the digest away`,
		"docker.io/library/debian":     `selecting "docker.io/library/debian": no such target`,
		"registry.example/a/core-rust": `selecting "registry.example/a/core-rust": no such target`,
		"out/core-rsut":                `selecting "out/core-rsut": no such target; did you mean core-rust?`,
		"rsut":                         `selecting "rsut": no such target; did you mean rust?`,
		"core-rusty":                   `selecting "core-rusty": no such target; did you mean core-rust?`,
		"palet":                        `selecting "palet": no such target; did you mean pallet?`,
		"linux":                        `selecting "linux": no such target; did you mean user/linux?`,
		"user-linux":                   `selecting "user-linux": no such target; did you mean user/linux?`,
		"core/rut":                     `selecting "core/rut": no such target; did you mean core/rust?`,
		"no-*":                         `selecting "no-*": matches no output`,
		"core/r*s":                     `selecting "core/r*s": matches no output`,
		"./":                           `selecting "./": names nothing`,
		"/":                            `selecting "/": names nothing`,
		"packages/":                    `selecting "packages/": it is the whole tree: use --all`,
		"core-rust/":                   `selecting "core-rust/": no such target; did you mean core/rust?`,

		"packages/core/rsut":  `selecting "packages/core/rsut": no such target; did you mean core/rust?`,
		"packages/user/core":  `selecting "packages/user/core": no such target`,
		"packages/user/mesa/": `selecting "packages/user/mesa/": packages/user/mesa is skipped, it has no package.toml`,
		"user-mesa":           `selecting "user-mesa": packages/user/mesa is skipped, it has no package.toml`,
		"\x1b[31m":            `selecting "\x1b[31m": syntax error in pattern`,
		"":                    `selecting "": names nothing`,
	} {
		_, _, err := g.Select([]string{selector})
		if err == nil || err.Error() != want {
			t.Errorf("Select(%q) = %v, want %s", selector, err, want)
		}
	}
	refs, _, err := g.Select([]string{"zebra", "core-rust", "[", "ant", "zebra"})
	if refs != nil {
		t.Errorf("refs beside an error: %v", refs)
	}
	checkError(t, err, `selecting "[": syntax error in pattern`, `selecting "ant": no such target`, `selecting "zebra": no such target`)
	var unknown *graph.UnknownTargetError
	if !errors.As(err, &unknown) || unknown.Name != "ant" {
		t.Errorf("unknown = %+v", unknown)
	}
	if !errors.Is(err, path.ErrBadPattern) {
		t.Errorf("error = %v, want one that is %v", err, path.ErrBadPattern)
	}
}

func TestOrder(t *testing.T) {
	g, err := loadTree(plain("top: right left\nleft: bottom\nright: bottom left\nbottom:\nother: bottom"))
	if err != nil {
		t.Fatal(err)
	}
	ref := func(name string) graph.Ref { return graph.Ref{Stage: "core", Name: name} }
	if got, want := strings.Join(names(refsOf(g.Order([]graph.Ref{ref("top"), ref("left"), ref("gone"), ref("top")}))), " "), "core-bottom core-left core-right core-top"; got != want {
		t.Errorf("Order = %s, want %s", got, want)
	}
	if got, want := strings.Join(names(g.Closure([]graph.Ref{ref("right")})), " "), "core-bottom core-left core-right"; got != want {
		t.Errorf("Closure = %s, want %s", got, want)
	}
	if got, want := strings.Join(names(g.Dependents(ref("bottom"))), " "), "core-left core-other core-right"; got != want {
		t.Errorf("Dependents = %s, want %s", got, want)
	}
	all := g.Order(g.All())
	backwards := g.All()
	slices.Reverse(backwards)
	if !slices.Equal(all, g.Order(backwards)) {
		t.Error("the order depends on the order of what is asked for")
	}
	for i, o := range all {
		for _, dep := range o.Inputs() {
			if slices.Index(all, dep) > i {
				t.Errorf("%v comes before %v", o, dep)
			}
		}
	}
	if len(g.Order(nil)) != 0 || len(g.Closure(nil)) != 0 {
		t.Error("nothing has a closure")
	}
}

func refsOf(outputs []*graph.Output) (refs []graph.Ref) {
	for _, o := range outputs {
		refs = append(refs, o.Ref)
	}
	return refs
}
