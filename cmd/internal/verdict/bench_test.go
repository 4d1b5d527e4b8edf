package verdict

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
)

func BenchmarkCount(b *testing.B) {
	for _, engines := range []int{1, 2, 200} {
		b.Run(fmt.Sprint(engines), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			var s inputs
			var all []*input
			for i := range 1000 {
				all = append(all, s.add(fmt.Sprint(i), nil, oci.Digest{}, func(in *input) {
					in.proven = random.Float64() >= 0.05
					in.builders = []int{s.engines.add(testEngine(random.IntN(engines)))}
					for range min(len(all), random.IntN(20)) {
						in.deps = append(in.deps, all[random.IntN(len(all))])
					}
				}))
			}
			for b.Loop() {
				s.uncounted = true
				s.count()
				s.unmarked = true
				s.mark()
			}
		})
	}
}
