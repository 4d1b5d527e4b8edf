package verdict

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

// TestInputsAreCountedOnce compares the counts over random graphs with a walk of
// each closure.
func TestInputsAreCountedOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, share := range []float64{0, 0.02, 0.5, 1} {
		var s inputs
		var all []*input
		for i := range 300 {
			in := s.add(fmt.Sprint(i), nil, oci.Digest{}, func(in *input) {
				in.kind = []string{"embedded", "docker", ""}[random.IntN(3)]
				in.proven = random.Float64() >= share
				for range random.IntN(5) {
					if len(all) > 0 {
						in.deps = append(in.deps, all[random.IntN(len(all))])
					}
				}
			})
			all = append(all, in)
			if i%100 == 50 {
				s.count() // more may come afterwards
			}
		}
		s.count()
		for i, in := range all {
			if in.kind == "" {
				continue
			}
			if got, want := in.unproven[in.kind], walk(in, in.kind, map[*input]bool{}); got != want {
				t.Errorf("share %v: %d unproven inputs of %d, want %d", share, got, i, want)
			}
		}
	}
}

func walk(in *input, kind string, seen map[*input]bool) (unproven int) {
	for _, dep := range in.deps {
		if seen[dep] {
			continue
		}
		seen[dep] = true
		if !dep.proven || dep.kind != kind && dep.kind != "embedded" {
			unproven++
		}
		unproven += walk(dep, kind, seen)
	}
	return unproven
}
