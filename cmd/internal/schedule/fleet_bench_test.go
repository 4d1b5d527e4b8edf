package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
)

// fleetRuns is how many draws each number of the tables averages.
const fleetRuns = 3

// BenchmarkFleet prints the tables of docs/scheduling.md about several machines.
func BenchmarkFleet(b *testing.B) {
	all := plantest.TreeSteps(b)
	var table strings.Builder
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "simulation", F: func(t *testing.T) {
		fleetTable(t, &table, all)
		bytesTable(t, &table, all)
		linkTable(t, &table, all)
	}}})
	if !ok {
		b.Fatal("the simulation failed")
	}
	fmt.Print(&table)
}

// fleetTable prints how far runs are above the bound if bytes are free.
func fleetTable(t *testing.T, table *strings.Builder, all []*plan.Step) {
	fmt.Fprintf(table, "%-12s %8s %8s", "durations", "machines", "bound")
	for _, p := range []policy{byEnd, roundRobin, sticky} {
		fmt.Fprintf(table, " %12s", p)
	}
	for _, d := range distributions[2:] {
		draws := newDraws(t, all, d.take, 1)
		for _, n := range fleets {
			var bound time.Duration
			for _, took := range draws.took {
				bound += lowerBound(all, took, n*jobsOfMachine) / fleetRuns
			}
			fmt.Fprintf(table, "\n%-12s %8d %7.2fh", d.name, n, bound.Hours())
			for _, p := range []policy{byEnd, roundRobin, sticky} {
				span, _ := draws.run(t, all, &fleet{machines: n, policy: p})
				fmt.Fprintf(table, " %12.2f", 100*(float64(span)/float64(bound)-1))
			}
		}
	}
}

// bytesTable prints how many hours runs take, and how many gigabytes move.
func bytesTable(t *testing.T, table *strings.Builder, all []*plan.Step) {
	policies := []policy{byEnd, blind, roundRobin, sticky}
	fmt.Fprintf(table, "\n\n%-26s  %-52s%s\n%5s %7s %8s ", "", "through the link of sx", "through a hub", "sizes", "Mbit/s", "machines")
	for range 2 {
		for _, p := range policies {
			fmt.Fprintf(table, " %12s", p)
		}
	}
	var cases [][2]float64
	for _, rate := range []float64{10000, 1000, 100} {
		cases = append(cases, [2]float64{10, rate})
	}
	for _, c := range append(cases, [2]float64{1, 100}) {
		draws := newDraws(t, all, distributions[2].take, c[0])
		for _, n := range []int{1, 4, 16, 64} {
			fmt.Fprintf(table, "\n%4.0fx %7.0f %8d ", c[0], c[1], n)
			for _, hub := range []bool{false, true} {
				for _, p := range policies {
					span, moved := draws.run(t, all, &fleet{machines: n, policy: p, rate: c[1] * 1e6 / 8, hub: hub})
					fmt.Fprintf(table, " %12s", fmt.Sprintf("%.1f (%d)", span.Hours(), moved/1e9))
				}
			}
		}
	}
	fmt.Fprintln(table)
}

// linkTable prints how many hours runs take through the link of sx if the schedule takes it
// for free, and if it knew when each transfer that is under way ends.
func linkTable(t *testing.T, table *strings.Builder, all []*plan.Step) {
	fmt.Fprintf(table, "\n%5s %7s %8s %12s %12s\n", "sizes", "Mbit/s", "machines", byEnd, foresees)
	draws := newDraws(t, all, distributions[2].take, 10)
	for _, rate := range []float64{1000, 100} {
		for _, n := range []int{4, 16, 64} {
			fmt.Fprintf(table, "%4.0fx %7.0f %8d", 10.0, rate, n)
			for _, p := range []policy{byEnd, foresees} {
				span, moved := draws.run(t, all, &fleet{machines: n, policy: p, rate: rate * 1e6 / 8})
				fmt.Fprintf(table, " %12s", fmt.Sprintf("%.1f (%d)", span.Hours(), moved/1e9))
			}
			fmt.Fprintln(table)
		}
	}
}
