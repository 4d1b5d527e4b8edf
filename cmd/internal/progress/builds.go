package progress

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/graph"
)

// builds is the state of all builds. Its counts never go down, and no event
// costs more the more steps there are.
type builds struct {
	total    int
	upToDate int // not of total
	ended    int // however
	done     int // built, saved or taken
	saved    int
	taken    int
	failed   int
	skipped  int
	started  int // in all
	steps    int // instructions, in all
	running  map[graph.Ref]*job
	end      time.Time     // when all should have ended; zero if unknown
	known    time.Duration // expected of the plan, and how much of it is a guess
	guess    time.Duration
}

// job is a build that runs.
type job struct {
	ref         graph.Ref
	number      int // of its start
	began       time.Time
	expected    time.Duration // 0 if unknown
	guessed     bool
	platform    string // the only one; "" where there are several
	instruction string
	at          int        // of all instructions, the number of this one
	family      *plan.Step // the first of those that run as one; nil when alone
	engine      string     // "" if there is only one
}

// group is what one line shows: a job, or those of a family.
type group struct {
	name string
	job  // of a family, the oldest's, with the longest expected and the latest instruction
}

func (b *builds) begin(p *plan.Plan) events.Event {
	steps, upToDate := p.Count(plan.ActionBuild), p.Count(plan.ActionNone)
	b.total += steps
	b.upToDate += upToDate
	for _, s := range p.Steps {
		if s.Action == plan.ActionNone {
			continue
		}
		if s.Untimed {
			b.guess += s.Expected
		} else {
			b.known += s.Expected
		}
	}
	return events.Event{Event: events.BuildBegin, Engine: p.Engine, Steps: &steps, UpToDate: &upToDate}
}

// planned is a step of the plan, or an output of it with nothing to do.
func planned(s *plan.Step) events.Event {
	e := events.Event{Event: events.PlanKept, Ref: s.Output.Ref.String(), Substituted: s.Substituted}
	if s.Action != plan.ActionNone {
		e = events.Event{Event: events.PlanStep, Ref: e.Ref, Action: string(s.Action), Reason: s.Reason, Because: name(s.Because)}
		expect(&e, s)
	}
	for _, d := range s.Output.Deps {
		e.Depends = append(e.Depends, d.String())
	}
	if s.LastDuration > 0 {
		e.Last = new(events.Length(s.LastDuration))
	}
	return e
}

func (b *builds) start(now time.Time, step *plan.Step) events.Event {
	b.started++
	j := &job{
		ref: step.Output.Ref, number: b.started, began: now, expected: step.Expected, guessed: step.Untimed,
		engine: step.Engine,
	}
	if len(step.Request.Platforms) == 1 {
		j.platform = step.Request.Platforms[0]
	}
	if len(step.Family) > 1 {
		j.family = step.Family[0]
	}
	b.running[j.ref] = j
	e := events.Event{Event: events.BuildStart, Ref: j.ref.String(), Engine: step.Engine, Reason: step.Reason, Because: name(step.Because)}
	expect(&e, step)
	w := step.Waited
	e.WaitedDepends, e.WaitedDownloads = lasting(w.Depends), lasting(w.Downloads-w.Lock)
	e.WaitedLock, e.WaitedJob = lasting(w.Lock), lasting(w.Job)
	return e
}

// lasting returns d, nil if it rounds to nothing.
func lasting(d time.Duration) *events.Length {
	if d < time.Millisecond {
		return nil
	}
	return new(events.Length(d))
}

func (b *builds) step(ref graph.Ref, instruction string) events.Event {
	if j := b.running[ref]; j != nil {
		b.steps++
		j.instruction, j.at = instruction, b.steps
	}
	return events.Event{Event: events.BuildStep, Ref: ref.String(), Instruction: instruction}
}

func (b *builds) finish(r driver.Result) events.Event {
	delete(b.running, r.Ref)
	b.count(r.Outcome)
	e := events.Event{
		Event: events.BuildFinish, Ref: r.Ref.String(), Outcome: string(r.Outcome), Cause: name(r.Cause), Log: r.Log, Registry: r.Hub,
		Elapsed: new(events.Length(r.Elapsed)), Done: new(b.done), Saved: new(b.saved), Failed: new(b.failed),
		Skipped: new(b.skipped), Steps: new(b.total),
	}
	e.Digest = hex(r.Digest)
	if r.Err != nil {
		e.Error = r.Err.Error()
	}
	if built := (*buildkit.BuildError)(nil); errors.As(r.Err, &built) {
		e.File, e.Line = built.File, built.Line
	}
	e.Solved, e.Committed = lasting(r.Solved), lasting(r.Committed)
	e.Memory, e.Size = positive(r.Memory), positive(r.Size)
	return e
}

func (b *builds) count(o plan.Outcome) {
	b.ended++
	switch o {
	case plan.Built:
		b.done++
	case plan.Unchanged:
		b.done++
		b.saved++
	case plan.Reused:
		b.done++
		b.taken++
	case plan.Failed:
		b.failed++
	case plan.Skipped:
		b.skipped++
	}
}

func (b *builds) estimate(now time.Time, left time.Duration) events.Event {
	b.end = now.Add(left)
	return events.Event{Event: events.BuildLeft, Left: new(events.Length(left))}
}

// left is how long the rest takes; ok is false if it is unknown. It runs down
// between estimates, below zero when the last one was too short.
func (b *builds) left(now time.Time) (left time.Duration, ok bool) {
	if b.end.IsZero() || b.ended >= b.total {
		return 0, false
	}
	return b.end.Sub(now), true
}

// guessed reports that most of what is expected of the plan is a guess.
func (b *builds) guessed() bool { return b.guess > b.known }

// groups are what runs, in the order it started.
func (b *builds) groups() []group {
	jobs := slices.SortedFunc(maps.Values(b.running), func(x, y *job) int { return cmp.Compare(x.number, y.number) })
	var all []group
	of := map[*plan.Step]int{} // a family's place in all
	members := map[*plan.Step]int{}
	for _, j := range jobs {
		at, ok := of[j.family]
		if j.family == nil || !ok {
			of[j.family] = len(all)
			members[j.family] = 1
			all = append(all, group{j.ref.String() + onEngine(j.engine), *j})
			continue
		}
		members[j.family]++
		all[at].join(j, members[j.family])
	}
	return all
}

// join takes in the nth member.
func (g *group) join(j *job, n int) {
	d := j.family.Output.Definition
	g.name = fmt.Sprintf("%s-%s (%d outputs)", d.Stage, d.Name, n) + onEngine(j.engine)
	if j.expected > g.expected {
		g.expected, g.guessed = j.expected, j.guessed
	}
	if j.at > g.at {
		g.instruction, g.at = j.instruction, j.at
	}
}

// expect says how long a step should take, where anybody knows, and with what it
// runs as one.
func expect(e *events.Event, s *plan.Step) {
	if s.Expected > 0 {
		e.Expected, e.Guessed = new(events.Length(s.Expected)), s.Untimed
	}
	e.Memory = positive(s.Memory)
	if len(s.Family) > 1 {
		e.Family = s.Output.Definition.Stage + "-" + s.Output.Definition.Name
	}
}

// positive returns nil for what is not known.
func positive(n int64) *int64 {
	if n <= 0 {
		return nil
	}
	return &n
}

// hex returns "" for no digest.
func hex(d oci.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

// name is "" for no ref.
func name(r graph.Ref) string {
	if r == (graph.Ref{}) {
		return ""
	}
	return r.String()
}
