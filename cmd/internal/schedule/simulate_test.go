package schedule

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
)

// distributions of how long builds take, in minutes.
var distributions = []struct {
	name string
	take func(*rand.Rand) float64
}{
	{"all equal", func(*rand.Rand) float64 { return 5 }},
	{"uniform", func(r *rand.Rand) float64 { return 10 * r.Float64() }},
	{"exponential", func(r *rand.Rand) float64 { return 5 * r.ExpFloat64() }},
	{"lognormal", func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) }},
	{"few giants", func(r *rand.Rand) float64 {
		if r.IntN(40) == 0 {
			return 60 + 120*r.Float64()
		}
		return 0.5 + r.Float64()
	}},
}

// order says what a run knows when it decides which unit goes first.
type order string

const (
	known   order = "known"     // every duration
	roughly order = "roughly"   // each wrong by a factor, of two and more in a third of the cases
	nothing order = "unknown"   // all guesses are equal, as in a first run
	asMake  order = "as make's" // in the order of the Makefile
)

// simulate runs the real schedule in fake time, where each definition takes as long
// as took says, and returns the time of the run.
func simulate(t *testing.T, all []*plan.Step, took map[*plan.Step]time.Duration, jobs int, o order, r *rand.Rand) (makespan time.Duration) {
	for _, s := range all {
		switch l := first(s); o {
		case known, asMake:
			s.Expected = took[l]
		case nothing:
			s.Expected = defaultEstimate
		case roughly:
			if s == l {
				s.Expected = time.Duration(float64(took[l]) * math.Exp(0.7*r.NormFloat64()))
			}
			s.Expected = l.Expected
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Schedule{
			Slots: Capacity{Jobs: jobs}.Slots(), Stop: func() bool { return false }, Now: time.Now,
			Do: func(_ context.Context, _ int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
				time.Sleep(took[steps[0]])
				for _, s := range steps {
					ended(s, true)
				}
				return false
			},
		}
		s.Prepare(all, nil)
		if o == asMake {
			for _, u := range s.Units {
				u.Rank = u.index
			}
			heap.Init(&s.ready)
		}
		began := time.Now()
		s.Run(t.Context())
		makespan = time.Since(began)
	})
	return makespan
}

func first(s *plan.Step) *plan.Step {
	if s.Family != nil {
		return s.Family[0]
	}
	return s
}

// lowerBound returns a time that no schedule can beat: the largest, over all h, of h
// + the work of the units that cannot start before h ÷ jobs + the shortest path left
// after one of them.
func lowerBound(all []*plan.Step, took map[*plan.Step]time.Duration, jobs int) time.Duration {
	for _, s := range all {
		s.Expected = took[first(s)]
	}
	us := units(all)
	head := make([]time.Duration, len(us))
	for i, u := range us {
		for _, next := range slices.Concat(u.Dependents...) {
			head[next.index] = max(head[next.index], head[i]+u.expected)
		}
	}
	slices.SortFunc(us, func(a, b *Unit) int { return cmp.Compare(head[b.index], head[a.index]) })
	var bound, work time.Duration
	tail := time.Duration(math.MaxInt64)
	for i, u := range us {
		work += u.expected
		tail = min(tail, u.height-u.expected)
		if i+1 == len(us) || head[us[i+1].index] < head[u.index] {
			bound = max(bound, head[u.index]+work/time.Duration(jobs)+tail)
		}
		bound = max(bound, head[u.index]+u.height)
	}
	return bound
}

// above holds by how many percent each run was above the bound.
type above []float64

func (a above) String() string {
	var sum float64
	for _, x := range a {
		sum += x
	}
	return fmt.Sprintf("%6.2f %6.2f", sum/float64(len(a)), slices.Max(a))
}

// compare simulates runs with durations of a distribution.
func compare(t *testing.T, all []*plan.Step, take func(*rand.Rand) float64, jobs, runs int, orders ...order) map[order]above {
	results := map[order]above{}
	for seed := range runs {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		took := map[*plan.Step]time.Duration{}
		for _, s := range all {
			if s == first(s) {
				took[s] = time.Duration(take(r)*float64(time.Minute)) + 1
			}
		}
		bound := lowerBound(all, took, jobs)
		for _, o := range orders {
			span := simulate(t, all, took, jobs, o, r)
			if span < bound {
				t.Fatalf("a run of %s is below the bound of %s", span, bound)
			}
			results[o] = append(results[o], 100*(float64(span)/float64(bound)-1))
		}
	}
	return results
}

// TestScheduleIsNearTheBound checks that runs are at most 5 % above the lower bound.
func TestScheduleIsNearTheBound(t *testing.T) {
	all := plantest.TreeSteps(t)
	for _, d := range distributions {
		for _, jobs := range []int{4, 16, 64} {
			if got := compare(t, all, d.take, jobs, 2, known)[known]; slices.Max(got) > 5 {
				t.Errorf("%s, -j %d: %s %% above the bound", d.name, jobs, got)
			}
		}
	}
}

// BenchmarkSchedule prints the table of docs/scheduling.md: how far, in percent
// of the lower bound, runs of the real schedule in fake time are above it, on
// average and at worst.
func BenchmarkSchedule(b *testing.B) {
	const runs = 20
	all := plantest.TreeSteps(b)
	var table strings.Builder
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "simulation", F: func(t *testing.T) {
		fmt.Fprintf(&table, "%-12s %4s", "durations", "-j")
		orders := []order{known, roughly, nothing, asMake}
		for _, o := range orders {
			fmt.Fprintf(&table, "  %13s", o)
		}
		for _, d := range distributions {
			for _, jobs := range []int{4, 16, 64} {
				fmt.Fprintf(&table, "\n%-12s %4d", d.name, jobs)
				results := compare(t, all, d.take, jobs, runs, orders...)
				for _, o := range orders {
					fmt.Fprintf(&table, "  %s", results[o])
				}
			}
		}
	}}})
	if !ok {
		b.Fatal("the simulation failed")
	}
	fmt.Printf("%d outputs in %d units, %d runs each\n%s\n", len(all), len(units(all)), runs, &table)
}

// BenchmarkEstimate measures preparing a run, and the time left, at a hundred times
// the size of the tree.
func BenchmarkEstimate(b *testing.B) {
	all := plantest.Copies(plantest.ShapedSteps(), 100)
	s := &Schedule{Slots: Capacity{Jobs: 8, Memory: 64 << 30}.Slots()}
	b.Run(fmt.Sprint("prepare/", len(all)), func(b *testing.B) {
		for b.Loop() {
			plan.Family(all)
			s.ready = nil
			s.Prepare(all, nil)
		}
	})
	b.Run(fmt.Sprint("left/", len(all)), func(b *testing.B) {
		for b.Loop() {
			s.remaining(0)
		}
	})
}
