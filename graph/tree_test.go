package graph_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// hash is a valid one for sources of tests.
const hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// base is a definition that others can be built from.
const base = `
-- packages/core/base/package.toml --
[package]
name = "base"
version = "1.2.3"
-- packages/core/base/Containerfile --
FROM scratch
`

// loadTree joins what is wrong with definitions.
func loadTree(tree fs.FS) (*graph.Graph, error) {
	g, err := graph.Load(context.Background(), tree, graph.LoadOptions{Jobs: 3, Foreign: anyImage})
	if err == nil {
		err = wrong(g)
	}
	return g, err
}

func load(t *testing.T, tree fs.FS) *graph.Graph {
	t.Helper()
	g, err := graph.Load(t.Context(), tree, graph.LoadOptions{Foreign: anyImage})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func wrong(g *graph.Graph) error {
	var errs []error
	for _, b := range g.Broken() {
		for _, err := range b.Errors {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// anyImage allows every image of another registry.
func anyImage(graph.Image) error { return nil }

func mustLoad(t *testing.T, archive string) *graph.Graph {
	t.Helper()
	g, err := loadTree(graphtest.Tree(archive))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// loadOne loads one definition, core/x, beside core/base.
func loadOne(manifest, containerfile string) (*graph.Graph, error) {
	tree := graphtest.Tree(base)
	tree["packages/core/x/package.toml"] = &fstest.MapFile{Data: []byte(manifest), Mode: 0o644}
	tree["packages/core/x/Containerfile"] = &fstest.MapFile{Data: []byte(containerfile), Mode: 0o644}
	return loadTree(tree)
}

// checkError wants an error of exactly these lines.
func checkError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want\n%s", strings.Join(want, "\n"))
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("error\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
