package kubernetes

import (
	"encoding/json"
	"time"
)

// runs are the runs of sx that use a StatefulSet, by their random ids. They are kept in
// an annotation of it, which changes together with its number of pods, so that no run
// scales down what another uses.
type runs map[string]runEntry

// runEntry is one run. It counts only until its time, which the run moves on: one that
// was killed is forgotten.
type runEntry struct {
	Until time.Time `json:"until"` // by the API server's clock
	Pods  int       `json:"pods"`  // how many it can use
	On    []int     `json:"on"`    // ordinals of those that it is connected to
}

const (
	// runTime is how long a run counts after it was last heard of.
	runTime = 5 * time.Minute
	// renewEvery is how often it is heard of.
	renewEvery = time.Minute
	// maxRuns bounds the annotation.
	maxRuns = 64
)

// readRuns reads the annotation, and leaves out runs whose time is over. What cannot be
// read is no run.
func readRuns(annotation string, now time.Time) runs {
	all := runs{}
	if json.Unmarshal([]byte(annotation), &all) != nil {
		return runs{}
	}
	for id, r := range all {
		if now.After(r.Until) {
			delete(all, id)
		}
	}
	return all
}

func (r runs) String() string {
	data, err := json.Marshal(r) // maps are sorted
	if err != nil {
		panic("kubernetes: internal error: " + err.Error())
	}
	return string(data)
}

// others returns how many runs there are besides id.
func (r runs) others(id string) (n int) {
	for other := range r {
		if other != id {
			n++
		}
	}
	return n
}

// load returns how many other runs than id are connected to the pod.
func (r runs) load(id string, ordinal int) (n int) {
	for other, e := range r {
		for _, on := range e.On {
			if other != id && on == ordinal {
				n++
			}
		}
	}
	return n
}

// wanted returns how many pods there should be, of at most most: what the runs can use,
// and every pod that one is connected to. A StatefulSet removes those with the highest
// ordinals first.
func (r runs) wanted(minimum, most int) int {
	sum, used := 0, 0
	for _, e := range r {
		sum += e.Pods
		for _, on := range e.On {
			used = max(used, on+1)
		}
	}
	return max(minimum, min(sum, most), used)
}
