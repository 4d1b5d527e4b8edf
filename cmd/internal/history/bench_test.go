package history_test

import (
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/graph"
)

// BenchmarkHistory is opt-in: it opens the StageX checkout that SX_TEST_TREE names, and asks about all its definitions.
func BenchmarkHistory(b *testing.B) {
	tree := os.Getenv("SX_TEST_TREE")
	if tree == "" {
		b.Skip("SX_TEST_TREE names no StageX checkout")
	}
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			_ = open(b, tree)
		}
	})
	b.Run("Changed", func(b *testing.B) {
		h, now := open(b, tree), definitions(b, tree)
		for b.Loop() {
			for dir, list := range now {
				if _, err := h.Changed(dir, list); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func definitions(b *testing.B, tree string) map[string][]graph.File {
	b.Helper()
	found, err := filepath.Glob(filepath.Join(tree, "packages/*/*/Containerfile"))
	if err != nil || len(found) == 0 {
		b.Fatalf("finding definitions in %q: %v", tree, err)
	}
	now := map[string][]graph.File{}
	for _, path := range found {
		dir, err := filepath.Rel(tree, filepath.Dir(path))
		if err != nil {
			b.Fatal(err)
		}
		now[filepath.ToSlash(dir)] = files(b, filepath.Dir(path))
	}
	return now
}
