package build

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// evidence is what there is of each output of the graph, by its number, in out/ and
// in the records, each looked at once, so that a plan and the verdicts after it speak
// of the same. A run that builds gives it up before and looks anew after.
type evidence []*sighting

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

// renewEvidence starts from nothing but what was seen already, by name.
func (t *Tree) renewEvidence(seen map[string]*sighting) {
	outputs := t.Graph.Outputs()
	t.evidence = make(evidence, len(outputs))
	for i, o := range outputs {
		if t.evidence[i] = seen[o.String()]; t.evidence[i] == nil {
			t.evidence[i] = new(sighting)
		}
	}
}

// lookAhead looks at outputs before the graph is known: those that were there when
// sx last looked. It goes no further once ctx is done.
func lookAhead(ctx context.Context, store *cache.Store) map[string]*sighting {
	names := store.Remembered()
	seen, sightings := make(map[string]*sighting, len(names)), make([]*sighting, len(names))
	parallel(len(names), func(i int) {
		if sightings[i] = new(sighting); ctx.Err() != nil {
			return
		}
		s := sightings[i]
		if rec, err := s.readRecord(store, names[i]); err == nil && rec.Origin == cache.BuiltHere {
			s.readLayout(store, names[i])
		}
	})
	for i, name := range names {
		seen[name] = sightings[i]
	}
	return seen
}

func (s *sighting) readRecord(store *cache.Store, output string) (cache.Record, error) {
	s.recordOnce.Do(func() { s.record, s.recordErr = store.Record(output) })
	return s.record, s.recordErr
}

func (s *sighting) readLayout(store *cache.Store, output string) (cache.Layout, error) {
	s.layoutOnce.Do(func() {
		s.layout, s.time, s.layoutErr = store.WholeTime(output)
		s.looked.Store(true)
	})
	return s.layout, s.layoutErr
}

// whole reports whether the layout was found whole.
func (s *sighting) whole() bool { return s.looked.Load() && s.layoutErr == nil }

// record is [cache.Store.Record].
func (t *Tree) record(o *graph.Output) (cache.Record, error) {
	if t.evidence == nil {
		return t.Store.Record(o.String())
	}
	return t.evidence[o.Number()].readRecord(t.Store, o.String())
}

// whole is [cache.Store.Whole].
func (t *Tree) whole(o *graph.Output) (cache.Layout, error) {
	if t.evidence == nil {
		return t.Store.Whole(o.String())
	}
	return t.evidence[o.Number()].readLayout(t.Store, o.String())
}

// layout is [cache.Store.Layout]. One that was found whole is not read again.
func (t *Tree) layout(o *graph.Output) (cache.Layout, error) {
	if t.evidence != nil && t.evidence[o.Number()].whole() {
		return t.evidence[o.Number()].layout, nil
	}
	return t.Store.Layout(o.String())
}

// proof is [cache.Store.Proof]: the output's record where that is one.
func (t *Tree) proof(o *graph.Output, d oci.Digest) (cache.Record, bool) {
	isProof := func(m oci.Manifest) bool { return m.Digest == d }
	rec, err := t.record(o)
	if err == nil && rec.Origin == cache.BuiltHere && !d.IsZero() && slices.ContainsFunc(rec.Manifests, isProof) {
		return rec, true
	}
	return t.Store.Proof(o.String(), d)
}

// modified is the mtime of an output's index.json, which is what make compares.
func (t *Tree) modified(o *graph.Output) (time.Time, error) {
	if t.evidence != nil && t.evidence[o.Number()].whole() {
		return t.evidence[o.Number()].time, nil
	}
	return t.indexTime(o.String())
}

// look gathers evidence of an output that platforms are wanted of (nil: those it
// has), as far as it costs no hashing that nobody needs. Errors come again when the
// evidence is asked for.
func (t *Tree) look(o *graph.Output, platforms []string) {
	if t.evidence == nil {
		return
	}
	// Of what was not built here, nobody may want to know more.
	rec, err := t.record(o)
	if err != nil || rec.Origin != cache.BuiltHere {
		return
	}
	t.whole(o)
	if platforms == nil {
		platforms = platformsIn(rec)
	}
	t.current(o, platforms, rec)
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
