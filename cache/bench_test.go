package cache

import (
	"fmt"
	"os"
	"testing"

	"codeberg.org/stagex/sx/cache/disk"
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

func BenchmarkFormatRecord(b *testing.B) {
	r := sample("core-x", BuiltHere, "one")
	for i := range 6 {
		r.Deps = append(r.Deps, Dep{fmt.Sprint("core-dep", i), r.Manifests})
	}
	key := disk.NewKey([32]byte{1})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := formatRecord(r, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	type parts struct {
		Request struct {
			Target string            `json:"target"`
			Args   map[string]string `json:"args"`
		} `json:"request"`
		Context []map[string]string        `json:"context"`
		Deps    map[string]map[string]bool `json:"deps"`
	}
	p := parts{Deps: map[string]map[string]bool{}}
	p.Request.Target, p.Request.Args = "package", map[string]string{"VERSION": "1.2.3"}
	for i := range 6 {
		name := fmt.Sprint("core-dep", i)
		p.Context = append(p.Context, map[string]string{"path": name, "sum": zeros})
		p.Deps[name] = map[string]bool{"linux/amd64 sha256:" + zeros: true}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canonical(p); err != nil {
			b.Fatal(err)
		}
	}
}
