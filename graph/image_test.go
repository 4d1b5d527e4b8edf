package graph_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

const imageDigest = "sha256:" + hash

var imageTests = map[string]struct {
	containerfile string
	want          []graph.Image
}{
	"from": {"FROM debian@" + imageDigest + " AS extract", []graph.Image{
		{"debian@" + imageDigest, "docker.io", "library/debian", imageDigest, "", 1},
	}},
	"with a tag": {"FROM debian:12@" + imageDigest, []graph.Image{
		{"debian:12@" + imageDigest, "docker.io", "library/debian", imageDigest, "", 1},
	}},
	"spelled out": {"FROM index.docker.io/library/debian:latest@" + imageDigest, []graph.Image{
		{"debian:latest@" + imageDigest, "docker.io", "library/debian", imageDigest, "", 1},
	}},
	"copy": {"FROM scratch\n\nCOPY --from=quay.io/a/b/c@" + imageDigest + " . /", []graph.Image{
		{"quay.io/a/b/c@" + imageDigest, "quay.io", "a/b/c", imageDigest, "", 3},
	}},
	"mount": {"FROM scratch\nRUN --mount=from=localhost:5000/x@" + imageDigest + ",target=/x true", []graph.Image{
		{"localhost:5000/x@" + imageDigest, "localhost:5000", "x", imageDigest, "", 2},
	}},
	"another's StageX": {"FROM quay.io/stagex/core-base@" + imageDigest, []graph.Image{
		{"quay.io/stagex/core-base@" + imageDigest, "quay.io", "stagex/core-base", imageDigest, "", 1},
	}},
	"variable": {"ARG BASE=debian\nFROM ${BASE}@" + imageDigest, []graph.Image{
		{"debian@" + imageDigest, "docker.io", "library/debian", imageDigest, "", 2},
	}},
	"platform": {"FROM --platform=linux/386 debian@" + imageDigest + " AS a\nFROM debian@" + imageDigest + "\nCOPY --from=debian@" + imageDigest + " / /", []graph.Image{
		{"debian@" + imageDigest, "docker.io", "library/debian", imageDigest, "", 2},
		{"debian@" + imageDigest, "docker.io", "library/debian", imageDigest, "linux/386", 1},
	}},
	"target's platform": {"FROM --platform=$TARGETPLATFORM debian@" + imageDigest, []graph.Image{
		{"debian@" + imageDigest, "docker.io", "library/debian", imageDigest, "", 1},
	}},
}

// TestImages: an image that is named by digest loads wherever BuildKit looks one up,
// and is part of the request, so of the key.
func TestImages(t *testing.T) {
	for name, test := range imageTests {
		t.Run(name, func(t *testing.T) {
			g := mustLoad(t, neighbours+test.containerfile+"\n")
			o := g.Output(graph.Ref{Stage: "core", Name: "x"})
			if diff := cmp.Diff(test.want, o.Request(nil).Images); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
			if len(o.Deps) > 0 {
				t.Errorf("deps = %v, want none", o.Deps)
			}
		})
	}
}

func TestImageErrors(t *testing.T) {
	const short = "0123456789abcdef"
	for name, test := range map[string]struct{ containerfile, want string }{
		"other algorithm":  {"FROM a@sha512:" + hash + hash, `1: FROM "a@sha512:` + hash + hash + `": digest "sha512:` + hash + hash + `": want sha256: and 64 lower-case hexadecimal digits`},
		"short":            {"FROM a@sha256:" + short, `1: FROM "a@sha256:` + short + `": neither a stage before this one nor an image: invalid reference format`},
		"build's platform": {"FROM --platform=$BUILDPLATFORM a@" + imageDigest, `1: FROM "a@` + imageDigest + `": --platform="$BUILDPLATFORM": $BUILDPLATFORM is not the same in every build`},
		"no platform":      {"FROM --platform=386 a@" + imageDigest, `1: FROM "a@` + imageDigest + `": --platform="386": want <os>/<architecture>, such as linux/amd64`},
		"of an output":     {"FROM scratch\nONBUILD COPY --from=a@" + imageDigest + " . .", `2: COPY --from "a@` + imageDigest + `": ONBUILD of an output: it would be looked up in every build upon it`},
	} {
		t.Run(name, func(t *testing.T) {
			tree := graphtest.Tree(neighbours)
			tree["packages/core/x/Containerfile"].Data = []byte(test.containerfile)
			_, err := loadTree(tree)
			checkError(t, err, containerfileFile+test.want)
		})
	}
}

// TestForeign: what may be used is asked of the caller, and nothing may by default.
func TestForeign(t *testing.T) {
	tree := graphtest.Tree(neighbours + "FROM a@" + imageDigest + "\nCOPY --from=b.example/c@" + imageDigest + " / /\n")
	err := loadForeign(t, tree, nil)
	const refused = `": it is an image of another registry, and none is allowed here`
	checkError(t, err, containerfileFile+`1: "a@`+imageDigest+refused, containerfileFile+`2: "b.example/c@`+imageDigest+refused)
	notThis := errors.New("not this one")
	err = loadForeign(t, tree, func(i graph.Image) error {
		if i.Host == "docker.io" {
			return nil
		}
		return notThis
	})
	checkError(t, err, containerfileFile+`2: "b.example/c@`+imageDigest+`": not this one`)
	if !errors.Is(err, notThis) {
		t.Error("the reason cannot be told from the error")
	}
}

func loadForeign(t *testing.T, tree fs.FS, foreign func(graph.Image) error) error {
	t.Helper()
	g, err := graph.Load(t.Context(), tree, graph.LoadOptions{Foreign: foreign})
	if err != nil {
		t.Fatal(err)
	}
	return wrong(g)
}
