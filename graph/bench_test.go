package graph_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// BenchmarkLoad loads generated trees from memory and, as sx does, from a disk
// through os.Root.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{500, 50_000} {
		tree := graphtest.Generate(n)
		b.Run(fmt.Sprintf("memory/%d", n), func(b *testing.B) { load(b, tree, n) })
	}
	const n = 500
	b.Run(fmt.Sprintf("disk/%d", n), func(b *testing.B) { load(b, onDisk(b, graphtest.Generate(n)), n) })
}

func load(b *testing.B, tree fs.FS, n int) {
	b.ReportAllocs()
	for b.Loop() {
		g, err := graph.Load(context.Background(), tree, graph.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if len(g.All()) != n {
			b.Fatalf("loaded %d outputs, want %d", len(g.All()), n)
		}
	}
}

func onDisk(b *testing.B, tree fs.FS) fs.FS {
	dir := b.TempDir()
	if err := os.CopyFS(dir, tree); err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { root.Close() })
	return root.FS()
}

func BenchmarkOrder(b *testing.B) {
	g, err := graph.Load(context.Background(), graphtest.Generate(5000), graph.LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		g.Order(g.All())
	}
}
