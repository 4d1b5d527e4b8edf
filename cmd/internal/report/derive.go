package report

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"

	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// link turns the names of dependencies into indices.
func (r *Run) link(depends map[string][]string) {
	for _, o := range r.Outputs {
		for _, d := range depends[o.Ref] {
			i, ok := r.index[d]
			if ok && !slices.Contains(o.Depends, i) {
				o.Depends = append(o.Depends, i)
			} else if !ok {
				o.Outside++
			}
		}
	}
}

// finish derives what no single event says.
func (r *Run) finish() {
	if r.State == runs.Interrupted {
		for _, o := range r.Outputs {
			switch o.State {
			case Building:
				o.State = Broken
			case Waiting:
				o.State = "not run"
				r.Counts.NotRun++
			}
		}
	}
	// A source that was present before is no download.
	r.Downloads = slices.DeleteFunc(r.Downloads, func(d *Download) bool { return d.How == "present" && d.Bytes == 0 && d.Failed == nil })
	r.assignLanes()
	r.findCritical()
}

// last returns when o ended, or the run.
func (r *Run) last(o *Output) float64 {
	if o.End >= 0 {
		return o.End
	}
	return r.Length
}

// assignLanes puts each output that ran into the first row of the timeline that is free
// when it starts. If several engines ran some, each has rows of its own.
func (r *Run) assignLanes() {
	var ran []*Output
	on := map[string][]*Output{}
	for _, o := range r.Outputs {
		if o.Start >= 0 {
			ran = append(ran, o)
			on[o.Engine] = append(on[o.Engine], o)
		}
	}
	if named := len(on) - min(1, len(on[""])); named < 2 {
		r.fillLanes(ran, 0)
		return
	}
	first := 0
	for _, engine := range slices.Sorted(maps.Keys(on)) {
		lanes := r.fillLanes(on[engine], first)
		r.Engines = append(r.Engines, EngineLanes{engine, first, lanes})
		first += lanes
	}
}

// fillLanes assigns rows from first on, and returns how many.
func (r *Run) fillLanes(ran []*Output, first int) (lanes int) {
	slices.SortStableFunc(ran, func(a, b *Output) int { return cmp.Compare(a.Start, b.Start) })
	var busy ends // rows, by when they are free
	var free freeLanes
	for _, o := range ran {
		for len(busy) > 0 && busy[0].end <= o.Start {
			heap.Push(&free, heap.Pop(&busy).(laneEnd).lane)
		}
		if len(free) > 0 {
			o.Lane = heap.Pop(&free).(int)
		} else {
			o.Lane = first + lanes
			lanes++
		}
		heap.Push(&busy, laneEnd{r.last(o), o.Lane})
	}
	return lanes
}

type laneEnd struct {
	end  float64
	lane int
}

type ends []laneEnd

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].end < h[j].end }
func (h ends) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ends) Push(x any)        { *h = append(*h, x.(laneEnd)) }
func (h *ends) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

type freeLanes []int

func (h freeLanes) Len() int           { return len(h) }
func (h freeLanes) Less(i, j int) bool { return h[i] < h[j] }
func (h freeLanes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *freeLanes) Push(x any)        { *h = append(*h, x.(int)) }
func (h *freeLanes) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// findCritical walks from the output that ended last to the dependency that ended last,
// and so on: the chain that decided how long the run took.
func (r *Run) findCritical() {
	at := -1
	for i, o := range r.Outputs {
		if o.Start >= 0 && o.State != "preseeded" && (at < 0 || r.last(o) > r.last(r.Outputs[at])) {
			at = i
		}
	}
	seen := map[int]bool{}
	for at >= 0 && !seen[at] {
		seen[at] = true
		r.Critical = append(r.Critical, at)
		o, next := r.Outputs[at], -1
		for _, d := range o.Depends {
			dep := r.Outputs[d]
			// What began after o cannot have held it up.
			if dep.Start >= 0 && r.last(dep) <= o.Start+0.001 && (next < 0 || r.last(dep) > r.last(r.Outputs[next])) {
				next = d
			}
		}
		at = next
	}
	slices.Reverse(r.Critical)
}

// AddHistory adds to each output how long its builds took in earlier runs, which are
// given with the newest first.
func (r *Run) AddHistory(earlier []*Run) {
	for _, old := range slices.Backward(earlier) {
		for _, o := range old.Outputs {
			i, ok := r.index[o.Ref]
			if ok && o.State == "built" && o.Start >= 0 {
				mine := r.Outputs[i]
				mine.History = append(mine.History, Past{old.ID, round(o.End - o.Start)})
				mine.History = mine.History[max(len(mine.History)-maxHistory, 0):]
			}
		}
	}
}

const maxHistory = 10 // builds of an output

func round(s float64) float64 { return float64(int64(s*1000+0.5)) / 1000 }
