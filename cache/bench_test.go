package cache

import (
	"fmt"
	"os"
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
	before := must(os.Stat(s.Dir("stats")))(b)
	for b.Loop() {
		again := open(b, s.tree)
		for n := range outputs {
			if _, err := again.Check(fmt.Sprintf("core-%d", n)); err != nil {
				b.Fatal(err)
			}
		}
		must(0, again.stats.Save())(b)
		if !os.SameFile(before, must(os.Stat(s.Dir("stats")))(b)) {
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
