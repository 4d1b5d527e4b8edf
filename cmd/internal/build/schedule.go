package build

import (
	"container/heap"
	"context"
	"sync"

	"codeberg.org/stagex/sx/graph"
)

// schedule runs every step of a plan that is not up to date, each after those
// it depends on, at most jobs at once, the one with the longest chain of steps
// behind it first. It stops starting steps when stop reports true, and returns
// when what runs has ended. fn is called on several goroutines; it returns
// false when the step failed, which also fails all that depend on it: those
// are passed to skip with the step that is to blame.
type schedule struct {
	jobs int
	stop func() bool
	run  func(ctx context.Context, s *Step) bool
	skip func(s *Step, cause graph.Ref)

	mu      sync.Mutex
	waiting map[graph.Ref]int // unfinished dependencies
	behind  map[graph.Ref][]*Step
	height  map[graph.Ref]int // longest chain of steps that wait for this one
	ready   readyHeap
	blamed  map[graph.Ref]graph.Ref
}

// Run blocks until every step has run, was skipped, or stop or ctx kept it from
// starting.
func (s *schedule) Run(ctx context.Context, steps []*Step) {
	s.prepare(steps)
	var wg sync.WaitGroup
	done := make(chan struct{}, len(steps)+1)
	running := 0
	for {
		s.mu.Lock()
		for len(s.ready) > 0 && running < s.jobs && !s.stop() && ctx.Err() == nil {
			step := heap.Pop(&s.ready).(*readyStep).step
			running++
			wg.Add(1)
			go func() {
				defer wg.Done()
				ok := s.run(ctx, step)
				if ok || ctx.Err() == nil { // nobody is to blame for being cancelled
					s.finish(step, ok)
				}
				done <- struct{}{}
			}()
		}
		s.mu.Unlock()
		if running == 0 {
			break
		}
		<-done
		running--
	}
	wg.Wait()
}

func (s *schedule) prepare(steps []*Step) {
	s.waiting, s.behind = map[graph.Ref]int{}, map[graph.Ref][]*Step{}
	s.height, s.blamed = map[graph.Ref]int{}, map[graph.Ref]graph.Ref{}
	active := map[graph.Ref]*Step{}
	for _, st := range steps {
		if st.Action != ActionNone {
			active[st.Output.Ref] = st
		}
	}
	for i := len(steps) - 1; i >= 0; i-- { // dependents first
		st := steps[i]
		if st.Action == ActionNone {
			continue
		}
		ref := st.Output.Ref
		for _, d := range st.Output.Deps {
			if active[d] == nil {
				continue
			}
			s.waiting[ref]++
			s.behind[d] = append(s.behind[d], st)
			s.height[d] = max(s.height[d], s.height[ref]+1)
		}
	}
	for _, st := range steps {
		if st.Action != ActionNone && s.waiting[st.Output.Ref] == 0 {
			s.push(st)
		}
	}
}

func (s *schedule) push(st *Step) {
	heap.Push(&s.ready, &readyStep{st, s.height[st.Output.Ref]})
}

func (s *schedule) finish(st *Step, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := st.Output.Ref
	if !ok {
		s.blame(ref, ref)
	}
	for _, next := range s.behind[ref] {
		s.waiting[next.Output.Ref]--
		if _, blamed := s.blamed[next.Output.Ref]; s.waiting[next.Output.Ref] == 0 && !blamed {
			s.push(next)
		}
	}
}

// blame skips all that waits for ref, directly or not.
func (s *schedule) blame(ref, cause graph.Ref) {
	for _, next := range s.behind[ref] {
		r := next.Output.Ref
		if _, ok := s.blamed[r]; ok {
			continue
		}
		s.blamed[r] = cause
		s.skip(next, cause)
		s.blame(r, cause)
	}
}

type readyStep struct {
	step   *Step
	height int
}

type readyHeap []*readyStep

func (h readyHeap) Len() int { return len(h) }
func (h readyHeap) Less(i, j int) bool {
	if h[i].height != h[j].height {
		return h[i].height > h[j].height
	}
	return h[i].step.Output.Ref.Compare(h[j].step.Output.Ref) < 0
}
func (h readyHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *readyHeap) Push(x any)   { *h = append(*h, x.(*readyStep)) }
func (h *readyHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
