package schedule

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
)

// jobsOfMachine is the -j of each machine that is simulated.
const jobsOfMachine = 4

// longWay is how long a whole release takes from the seed on one machine: durations are
// scaled to that.
const longWay = 42 * time.Hour

// byInduction simulates machines that reproduce a release, each a shard of it, and returns
// when the last one ends. Shards are divided by the time that weight gives to a family.
func byInduction(t *testing.T, all []*plan.Step, took map[*plan.Step]time.Duration, machines int, weight func(*plan.Step) time.Duration) time.Duration {
	var families []*plan.Step
	for _, s := range all {
		if s == first(s) {
			families = append(families, s)
		}
	}
	slices.SortStableFunc(families, func(a, b *plan.Step) int { return cmp.Compare(weight(b), weight(a)) })
	loads, shards := make([]time.Duration, machines), make([][]*plan.Step, machines)
	for _, f := range families {
		least := slices.Index(loads, slices.Min(loads))
		loads[least] += weight(f)
		for _, s := range all {
			if first(s) == f {
				s.FromPublished = true
				shards[least] = append(shards[least], s)
			}
		}
	}
	defer func() {
		for _, s := range all {
			s.FromPublished = false
		}
	}()
	var last time.Duration
	for _, shard := range shards {
		last = max(last, simulate(t, shard, took, jobsOfMachine, nothing, nil))
	}
	return last
}

// durations draws how long each family takes, so that the long way takes longWay.
func durations(t *testing.T, all []*plan.Step, take func(*rand.Rand) float64, seed uint64) map[*plan.Step]time.Duration {
	r := rand.New(rand.NewPCG(seed, 7))
	took := map[*plan.Step]time.Duration{}
	for _, s := range all {
		if s == first(s) {
			took[s] = time.Duration(take(r)*float64(time.Minute)) + 1
		}
	}
	scale := float64(longWay) / float64(simulate(t, all, took, jobsOfMachine, nothing, nil))
	for s := range took {
		took[s] = time.Duration(float64(took[s])*scale) + 1
	}
	return took
}

// A release is proven sooner by induction than from the seed, and sooner by more machines.
func TestInductionIsSooner(t *testing.T) {
	all := plantest.TreeSteps(t)
	took := durations(t, all, distributions[2].take, 1)
	known := func(s *plan.Step) time.Duration { return took[s] }
	one, four := byInduction(t, all, took, 1, known), byInduction(t, all, took, 4, known)
	if one >= longWay || four >= one*2/3 {
		t.Errorf("one machine takes %s, four %s, the long way %s", one, four, longWay)
	}
}

// BenchmarkReproduce prints the table of docs/reproduce.md.
func BenchmarkReproduce(b *testing.B) {
	const runs = 5
	all := plantest.TreeSteps(b)
	var table strings.Builder
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "simulation", F: func(t *testing.T) {
		for _, d := range distributions {
			var longest time.Duration
			sums := map[string]time.Duration{}
			for seed := range uint64(runs) {
				took := durations(t, all, d.take, seed)
				for _, s := range all {
					longest = max(longest, took[first(s)])
				}
				for _, machines := range []int{1, 4, 16} {
					sums[fmt.Sprint("fleet", machines)] += simulate(t, all, took, machines*jobsOfMachine, nothing, nil)
					sums[fmt.Sprint("known", machines)] += byInduction(t, all, took, machines, func(s *plan.Step) time.Duration { return took[s] })
					sums[fmt.Sprint("equal", machines)] += byInduction(t, all, took, machines, func(*plan.Step) time.Duration { return time.Minute })
				}
			}
			fmt.Fprintf(&table, "| %s |", d.name)
			for _, machines := range []int{1, 4, 16} {
				for _, what := range []string{"fleet", "equal", "known"} {
					fmt.Fprintf(&table, " %.1f |", (sums[fmt.Sprint(what, machines)] / runs).Hours())
				}
			}
			fmt.Fprintf(&table, " longest build %.1f\n", longest.Hours())
		}
	}}})
	if !ok {
		b.Fatal("the simulation failed")
	}
	fmt.Printf("hours; from the seed, by induction with equal shards, with shards by time; on 1, 4, 16 machines\n%s", &table)
}
