// Package reporttest makes event streams of runs for tests: as large as wanted, the same
// each time, with a failure, a MISMATCH, and names and logs that are hostile if asked for.
package reporttest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// Options of [Stream].
type Options struct {
	Outputs int
	Jobs    int // at once; 0 is 4
	Seed    uint64
	// Failing is the output, by number, that fails, 0 for none; those that depend on it
	// are skipped. Differing is one that is MISMATCH.
	Failing, Differing int
	// Cut ends the stream after so many outputs, as if sx was killed; 0 is never.
	Cut int
	// Engines build the outputs in turns; empty: the embedded one builds all.
	Engines []string
	// Hostile takes the place of names of sources, reasons, instructions, errors and logs.
	Hostile string
}

// Began is when each stream begins.
var Began = time.Date(2026, 11, 29, 22, 0, 0, 0, time.UTC)

var stages = []string{"bootstrap", "core", "user", "pallet"}

// Ref is the name of the output of a number, from 1.
func Ref(o Options, n int) string { return fmt.Sprintf("%s-pkg%d", stages[4*(n-1)/o.Outputs], n) }

// Stream returns the events of a run.
func Stream(o Options) *runs.Run {
	if o.Jobs == 0 {
		o.Jobs = 4
	}
	s := &stream{Options: o, random: rand.New(rand.NewPCG(o.Seed, 1)), now: Began}
	s.plan()
	s.build()
	state := runs.Ended
	if o.Cut > 0 {
		state = runs.Interrupted
	} else {
		s.end()
	}
	return &runs.Run{ID: runs.NewID(Began), State: state, Events: s.events}
}

type stream struct {
	Options
	random  *rand.Rand
	now     time.Time
	events  []events.Event
	depends [][]int
	took    []time.Duration
	ended   []time.Duration // since the run began; of those that did
	lost    map[int]bool    // failed or skipped
	counts  struct{ done, failed, skipped int }
}

func (s *stream) tell(at time.Duration, e events.Event) {
	e.Time = s.now.Add(at)
	s.events = append(s.events, e)
}

// engine is the name of the one that builds output n.
func (s *stream) engine(n int) string {
	if len(s.Engines) == 0 {
		return ""
	}
	return s.Engines[n%len(s.Engines)]
}

// text is what a tree would say, or the hostile text.
func (s *stream) text(said string) string {
	if s.Hostile != "" {
		return said + " " + s.Hostile
	}
	return said
}

func (s *stream) digest(n int, what string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Appendf(nil, "%s %d %d", what, n, s.Seed)))
}

func seconds(d time.Duration) *events.Length { return new(events.Length(d)) }

func (s *stream) plan() {
	s.tell(0, events.Event{Event: events.RunBegin, Run: "generated", Command: s.text("sx build --all"), Version: "v1.0.0"})
	s.tell(0, events.Event{Event: events.BuildBegin, Engine: "embedded", Steps: new(s.Outputs), UpToDate: new(0)})
	s.depends, s.took = make([][]int, s.Outputs+1), make([]time.Duration, s.Outputs+1)
	for n := 1; n <= s.Outputs; n++ {
		e := events.Event{Event: events.PlanStep, Ref: Ref(s.Options, n), Action: "build", Reason: s.text("not built yet"), Memory: new(int64(n%7+1) << 28)}
		for range min(n-1, 1+s.random.IntN(4)) {
			d := max(1, n-1-s.random.IntN(min(n-1, 60)))
			s.depends[n] = append(s.depends[n], d)
			e.Depends = append(e.Depends, Ref(s.Options, d))
		}
		s.took[n] = time.Duration(1+s.random.ExpFloat64()*60000) * time.Millisecond
		e.Expected = seconds(s.took[n] * 9 / 10)
		s.tell(0, e)
	}
}

// build runs the outputs in their order, as many at once as there are jobs.
func (s *stream) build() {
	free := make([]time.Duration, s.Jobs)
	s.ended, s.lost = make([]time.Duration, s.Outputs+1), map[int]bool{}
	for n := 1; n <= s.Outputs && (s.Cut == 0 || n <= s.Cut); n++ {
		var ready time.Duration
		cause := 0
		for _, d := range s.depends[n] {
			ready = max(ready, s.ended[d])
			if s.lost[d] {
				cause = s.Failing
			}
		}
		if cause > 0 {
			s.lost[n] = true
			s.counts.skipped++
			s.finish(ready, events.Event{Ref: Ref(s.Options, n), Outcome: "skipped", Cause: Ref(s.Options, cause), Elapsed: seconds(0)})
			s.ended[n] = ready
			continue
		}
		job := 0
		for i := range free {
			if free[i] < free[job] {
				job = i
			}
		}
		fetched := ready
		if n%3 == 0 {
			fetched += 2 * time.Second
			s.download(n, ready)
		}
		began := max(fetched, free[job])
		free[job] = began + s.took[n]
		s.ended[n] = free[job]
		s.one(n, ready, fetched, began)
	}
}

func (s *stream) one(n int, ready, fetched, began time.Duration) {
	ref := Ref(s.Options, n)
	s.tell(began, events.Event{
		Event: events.BuildStart, Ref: ref, Engine: s.engine(n), Reason: s.text("not built yet"), Expected: seconds(s.took[n] * 9 / 10), Memory: new(int64(n%7+1) << 28),
		WaitedDepends: seconds(ready), WaitedDownloads: seconds(fetched - ready), WaitedJob: seconds(began - fetched),
	})
	for i := range 3 {
		s.tell(began+s.took[n]*time.Duration(i)/4, events.Event{Event: events.BuildStep, Ref: ref, Instruction: s.text(fmt.Sprintf("[linux/amd64 build %d/3] RUN make step%d", i+1, i))})
	}
	if s.Cut == n {
		return // killed while it ran
	}
	e := events.Event{Ref: ref, Outcome: "built", Digest: s.digest(n, "built"), Elapsed: seconds(s.took[n]), Solved: seconds(s.took[n] * 8 / 10), Committed: seconds(s.took[n] / 10),
		Memory: new(int64(n%7+1) << 28), Size: new(int64(n) << 16)}
	if n == s.Failing {
		s.lost[n] = true
		s.counts.failed++
		e.Outcome, e.Digest, e.Error = "failed", "", s.text("packages/x/Containerfile:7: exit code: 2")
		e.File, e.Line, e.Tail = "packages/x/Containerfile", 7, s.text("cc -c main.c\nmain.c:12:3: error: expected ';'\nmake: *** [main.o] Error 1")
		e.Log = ".sx/logs/x.log"
	} else {
		s.counts.done++
	}
	s.finish(began+s.took[n], e)
}

func (s *stream) finish(at time.Duration, e events.Event) {
	e.Event = events.BuildFinish
	e.Done, e.Failed, e.Skipped, e.Saved, e.Steps = new(s.counts.done), new(s.counts.failed), new(s.counts.skipped), new(0), new(s.Outputs)
	s.tell(at, e)
}

func (s *stream) download(n int, at time.Duration) {
	definition := strings.Replace(Ref(s.Options, n), "-", "/", 1)
	name, path := s.text(definition+": src"), "fetch/"+definition+".tar"
	s.tell(at, events.Event{Event: events.FetchStart, Source: name, Path: path, Mirror: s.text("https://one.example/src.tar"), Bytes: new(int64(0))})
	s.tell(at+2*time.Second, events.Event{Event: events.FetchDone, Source: name, Path: path, How: "fetched", Bytes: new(int64(n) << 14), Elapsed: seconds(2 * time.Second), Rate: new(int64(n) << 13)})
}

func (s *stream) end() {
	var last time.Duration
	for _, at := range s.ended {
		last = max(last, at)
	}
	code := 0
	for n := 1; n <= s.Outputs; n++ {
		if s.lost[n] {
			continue
		}
		e := events.Event{Event: events.Verdict, Ref: Ref(s.Options, n), Word: "MATCH", Verdict: "MATCH", Digest: s.digest(n, "built"), Published: s.digest(n, "built")}
		if n == s.Differing {
			e.Word, e.Verdict, e.Published, e.Note = "MISMATCH", "MISMATCH", s.digest(n, "published"), s.text("no definition changed since")
			code = 3
		}
		s.tell(last, e)
	}
	if s.counts.failed > 0 && code == 0 {
		code = 1
	}
	s.tell(last, events.Event{Event: events.RunEnd, Code: &code, Elapsed: seconds(last), Steps: new(s.Outputs), UpToDate: new(0),
		Done: new(s.counts.done), Saved: new(0), Taken: new(0), Failed: new(s.counts.failed), Skipped: new(s.counts.skipped)})
}
