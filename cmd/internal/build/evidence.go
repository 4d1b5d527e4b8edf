package build

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// evidence is what there is of outputs in out/ and in the records, each looked at
// once, so that a plan and the verdicts after it speak of the same. A run that
// builds gives it up before and looks anew after.
type evidence struct {
	known  map[string]*sighting // of the graph's outputs
	mu     sync.Mutex
	others map[string]*sighting
}

type sighting struct {
	recordOnce, layoutOnce sync.Once

	record    cache.Record
	recordErr error
	layout    cache.Layout
	layoutErr error
	time      time.Time   // see modified
	looked    atomic.Bool // at the layout

	mu        sync.Mutex
	current   cache.Key // of a record that is current for these platforms
	platforms []string
}

func newEvidence(g *graph.Graph) *evidence {
	outputs := g.Outputs()
	e := &evidence{known: make(map[string]*sighting, len(outputs)), others: map[string]*sighting{}}
	sightings := make([]sighting, len(outputs))
	for i, o := range outputs {
		e.known[o.Ref.String()] = &sightings[i]
	}
	return e
}

func (e *evidence) of(output string) *sighting {
	if s := e.known[output]; s != nil {
		return s
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.others[output]
	if s == nil {
		s = &sighting{}
		e.others[output] = s
	}
	return s
}

// record is [cache.Store.Record].
func (t *Tree) record(output string) (cache.Record, error) {
	if t.evidence == nil {
		return t.Store.Record(output)
	}
	s := t.evidence.of(output)
	s.recordOnce.Do(func() { s.record, s.recordErr = t.Store.Record(output) })
	return s.record, s.recordErr
}

// whole is [cache.Store.Whole].
func (t *Tree) whole(output string) (cache.Layout, error) {
	if t.evidence == nil {
		return t.Store.Whole(output)
	}
	s := t.evidence.of(output)
	s.layoutOnce.Do(func() {
		s.layout, s.time, s.layoutErr = t.Store.WholeTime(output)
		s.looked.Store(true)
	})
	return s.layout, s.layoutErr
}

// layout is [cache.Store.Layout]. One that was found whole is not read again.
func (t *Tree) layout(output string) (cache.Layout, error) {
	if t.evidence != nil {
		if s := t.evidence.of(output); s.looked.Load() && s.layoutErr == nil {
			return s.layout, nil
		}
	}
	return t.Store.Layout(output)
}

// proof is [cache.Store.Proof]: the output's record where that is one.
func (t *Tree) proof(output string, d cache.Digest) (cache.Record, bool) {
	isProof := func(m cache.Manifest) bool { return m.Digest == d }
	rec, err := t.record(output)
	if err == nil && rec.Origin == cache.BuiltHere && !d.IsZero() && slices.ContainsFunc(rec.Manifests, isProof) {
		return rec, true
	}
	return t.Store.Proof(output, d)
}

// modified is the mtime of an output's index.json, which is what make compares.
func (t *Tree) modified(output string) (time.Time, error) {
	if t.evidence != nil {
		if s := t.evidence.of(output); s.looked.Load() && s.layoutErr == nil {
			return s.time, nil
		}
	}
	return t.indexTime(output)
}

// look gathers evidence of an output that platforms are wanted of (nil: those it
// has), as far as it costs no hashing that nobody needs. Errors come again when the
// evidence is asked for.
func (t *Tree) look(o *graph.Output, platforms []string) {
	if t.evidence == nil {
		return
	}
	name := o.Ref.String()
	if t.evidence.of(name).looked.Load() {
		return
	}
	// Of what was not built here, nobody may want to know more.
	if rec, err := t.record(name); err == nil && rec.Origin == cache.BuiltHere {
		if platforms == nil {
			platforms = platformsIn(rec)
		}
		t.whole(name)
		t.current(o, platforms, rec)
	}
}

// parallel calls do for every number below n, as many at once as there are
// processors.
func parallel(n int, do func(i int)) {
	var group errgroup.Group
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
			return nil
		})
	}
	group.Wait()
}
