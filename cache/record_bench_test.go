package cache

import (
	"fmt"
	"testing"

	"codeberg.org/stagex/sx/cache/disk"
)

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

var goldenParts = goldenInputs()[1]

func BenchmarkCanonical(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := canonical(goldenParts); err != nil {
			b.Fatal(err)
		}
	}
}
