package cache

import (
	"fmt"
	"testing"
)

// BenchmarkNoOp is what a run that builds nothing asks of the cache: opening it
// and finding 500 outputs whole.
func BenchmarkNoOp(b *testing.B) {
	s := newStore(b)
	const outputs = 500
	for n := range outputs {
		buildImage("common", fmt.Sprint(n)).commit(b, s, fmt.Sprintf("core-%d", n))
	}
	if err := s.stats.Save(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		again := open(b, s.tree)
		for n := range outputs {
			if _, err := again.Whole(fmt.Sprintf("core-%d", n)); err != nil {
				b.Fatal(err)
			}
		}
		if len(again.stats.Dirty) != 0 {
			b.Fatal("something was hashed")
		}
	}
}

// BenchmarkCommit is one small output, written and swapped in.
func BenchmarkCommit(b *testing.B) {
	s := newStore(b)
	n := 0
	for b.Loop() {
		n++
		buildImage("common", fmt.Sprint(n)).commit(b, s, "core-x")
	}
}
