package progress

import (
	"slices"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/build"
	"codeberg.org/stagex/sx/graph"
)

// state is what a run has come to. Its methods take in what happened and give
// the event to show.
type state struct {
	start  time.Time // of the first Begin
	fetch  fetching
	builds building
}

// building is what is known of the builds. Its counts never go down.
type building struct {
	total   int
	ended   int // however
	done    int // built or saved
	saved   int
	failed  int
	skipped int
	running []*job // in the order they started
}

// job is a build that runs.
type job struct {
	ref         graph.Ref
	began       time.Time
	instruction string
}

func (s *state) began(now time.Time) {
	if s.start.IsZero() {
		s.start = now
	}
}

// busy reports that something runs or is about to.
func (s *state) busy() bool {
	return s.fetch.runs > 0 || len(s.builds.running) > 0 || s.builds.ended < s.builds.total
}

func (s *state) beginBuilds(now time.Time, steps int) event {
	s.builds.total += steps
	s.began(now)
	return event{Event: buildBegin, Steps: &steps}
}

func (s *state) startBuild(now time.Time, step *build.Step) event {
	ref := step.Output.Ref
	s.builds.remove(ref)
	s.builds.running = append(s.builds.running, &job{ref: ref, began: now})
	return event{Event: buildStart, Ref: ref.String(), Reason: step.Reason, Because: name(step.Because)}
}

func (s *state) stepBuild(ref graph.Ref, instruction string) event {
	if i := s.builds.index(ref); i >= 0 {
		s.builds.running[i].instruction = instruction
	}
	return event{Event: buildStep, Ref: ref.String(), Instruction: instruction}
}

func (s *state) finishBuild(r build.Result) event {
	b := &s.builds
	b.remove(r.Ref)
	b.count(r.Outcome)
	e := event{
		Event: buildFinish, Ref: r.Ref.String(), Outcome: string(r.Outcome), Cause: name(r.Cause), Log: r.Log,
		Elapsed: new(length(r.Elapsed)), Done: new(b.done), Failed: new(b.failed), Steps: new(b.total),
	}
	if !r.Digest.IsZero() {
		e.Digest = r.Digest.String()
	}
	if r.Err != nil {
		e.Error = r.Err.Error()
	}
	return e
}

func (b *building) count(o build.Outcome) {
	b.ended++
	switch o {
	case build.Built:
		b.done++
	case build.Saved:
		b.done++
		b.saved++
	case build.Failed:
		b.failed++
	case build.Skipped:
		b.skipped++
	}
}

func (b *building) remove(ref graph.Ref) {
	if i := b.index(ref); i >= 0 {
		b.running = slices.Delete(b.running, i, i+1)
	}
}

func (b *building) index(ref graph.Ref) int {
	return slices.IndexFunc(b.running, func(j *job) bool { return j.ref == ref })
}

// name is "" for no ref.
func name(r graph.Ref) string {
	if r == (graph.Ref{}) {
		return ""
	}
	return r.String()
}
