package verdict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// TestInputsAreCountedOnce compares the counts over random graphs, and the engines that
// each input rests on, with a walk of each closure. There are more engines than a word has
// bits.
func TestInputsAreCountedOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, share := range []float64{0, 0.02, 0.5, 1} {
		for _, engines := range []int{1, 3, 200} {
			var s inputs
			var all []*input
			for i := range 300 {
				in := s.add(fmt.Sprint(i), nil, oci.Digest{}, func(in *input) {
					in.proven = random.Float64() >= share
					for range random.IntN(3) {
						in.builders = append(in.builders, s.engines.add(testEngine(random.IntN(engines))))
					}
					for range random.IntN(5) {
						if len(all) > 0 {
							in.deps = append(in.deps, all[random.IntN(len(all))])
						}
					}
				})
				all = append(all, in)
				if i%100 == 50 {
					s.count() // more may come afterwards
					s.mark()
				}
			}
			s.count()
			s.mark()
			for i, in := range all {
				if len(in.builders) > 0 {
					checkInput(t, &s, in, fmt.Sprintf("share %v, %d engines, input %d", share, engines, i))
				}
			}
		}
	}
}

// testEngine returns the embedded engine for 0, else one of two kinds.
func testEngine(n int) cache.EngineInfo {
	if n == 0 {
		return cache.EngineInfo{Kind: "embedded", Address: "embedded"}
	}
	return cache.EngineInfo{Kind: []string{"tcp", "ssh"}[n%2], Address: fmt.Sprint("host", n)}
}

func checkInput(t *testing.T, s *inputs, in *input, name string) {
	t.Helper()
	closure := map[*input]bool{}
	walk(in, closure)
	unproven, on, each := 0, map[int]bool{}, slices.Clone(in.builders)
	for dep := range closure {
		if dep != in && !dep.proven {
			unproven++
		}
		if !slices.ContainsFunc(dep.builders, s.engines.embedded) {
			for _, n := range dep.builders {
				on[n] = true
			}
		}
		if len(dep.builders) > 0 {
			each = slices.DeleteFunc(each, func(n int) bool { return !slices.Contains(dep.builders, n) })
		}
	}
	if in.unproven != unproven {
		t.Errorf("%s: %d unproven inputs, want %d", name, in.unproven, unproven)
	}
	got := map[string]int{}
	for n := range s.engines.all {
		for _, part := range in.engines {
			if bit := n - part.first; bit >= 0 && bit < 64 {
				got["on"] += int(part.on >> bit & 1)
				got["each"] += int(part.each >> bit & 1)
				if part.on>>bit&1 == 1 && !on[n] || part.each>>bit&1 == 1 && !slices.Contains(each, n) {
					t.Errorf("%s: engine %d too much", name, n)
				}
			}
		}
	}
	slices.Sort(each)
	if len(s.engines.all) > 1 && (got["on"] != len(on) || got["each"] != len(slices.Compact(each))) {
		t.Errorf("%s: it rests on %d engines, and %d built all; want %d and %d", name, got["on"], got["each"], len(on), len(each))
	}
}

// walk adds in and its closure to seen.
func walk(in *input, seen map[*input]bool) {
	if seen[in] {
		return
	}
	seen[in] = true
	for _, dep := range in.deps {
		walk(dep, seen)
	}
}
