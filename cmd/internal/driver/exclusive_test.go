package driver

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
)

// TestExclusive checks that a build that must run alone waits for the others, runs
// beside its own family only, and then lets the others start.
func TestExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns exclusive
		var mu sync.Mutex
		var said []string
		say := func(text string) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, text)
		}
		run := func(s *plan.Step, name string, alone bool, d time.Duration) {
			go func() {
				done := turns.acquire(s, alone)
				say(name + " begins")
				time.Sleep(d)
				say(name + " ends")
				done()
			}()
			synctest.Wait()
		}
		member, other := &plan.Step{}, &plan.Step{}
		member.Family = []*plan.Step{member, other}
		other.Family = member.Family
		run(&plan.Step{}, "first", false, time.Hour)
		run(other, "member", false, 3*time.Hour)
		run(member, "alone", true, 3*time.Hour)
		run(&plan.Step{}, "later", false, time.Minute)
		run(&plan.Step{}, "last, alone", true, time.Minute)
		time.Sleep(24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		want := "first begins, member begins, first ends, alone begins, member ends, alone ends"
		got := strings.Join(said[:min(len(said), 6)], ", ")
		rest := said[min(len(said), 6):]
		if got != want || len(rest) != 4 {
			t.Fatalf("%q", said)
		}
		for _, name := range []string{"later", "last, alone"} { // either may be the first
			if i := slices.Index(rest, name+" begins"); i < 0 || i%2 != 0 || rest[i+1] != name+" ends" {
				t.Errorf("%q", rest)
			}
		}
	})
}
