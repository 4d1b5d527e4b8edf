package graph_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/graph/graphtest"
)

// BenchmarkLoad loads generated trees as sx does, from a disk through os.Root.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{500, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkLoad(b, n) })
	}
}

func benchmarkLoad(b *testing.B, n int) {
	dir := b.TempDir()
	if err := graphtest.Write(dir, n); err != nil {
		b.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.ReportAllocs()
	for b.Loop() {
		g, err := graph.Load(context.Background(), root.FS(), graph.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if len(g.All()) != n {
			b.Fatalf("loaded %d outputs, want %d", len(g.All()), n)
		}
	}
}

func BenchmarkOrder(b *testing.B) {
	g, err := graph.Load(context.Background(), graphtest.Generate(1000), graph.LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		g.Order(g.All())
	}
}
