package tree

import (
	"context"
	"os"
	"path/filepath"
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

// RenewEvidence starts from nothing but what was seen already, by name.
func (t *Tree) RenewEvidence(seen map[string]*sighting) {
	outputs := t.Graph.Outputs()
	t.Evidence = make(evidence, len(outputs))
	for i, o := range outputs {
		if t.Evidence[i] = seen[o.String()]; t.Evidence[i] == nil {
			t.Evidence[i] = new(sighting)
		}
	}
}

// lookAhead looks at outputs before the graph is known: those that were there when
// sx last looked. It goes no further once ctx is done.
func lookAhead(ctx context.Context, store *cache.Store) map[string]*sighting {
	names := store.Remembered()
	seen, sightings := make(map[string]*sighting, len(names)), make([]*sighting, len(names))
	Parallel(len(names), func(i int) {
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

// Record is [cache.Store.Record].
func (t *Tree) Record(o *graph.Output) (cache.Record, error) {
	if t.Evidence == nil {
		return t.Store.Record(o.String())
	}
	return t.Evidence[o.Number()].readRecord(t.Store, o.String())
}

// Whole is [cache.Store.Whole].
func (t *Tree) Whole(o *graph.Output) (cache.Layout, error) {
	if t.Evidence == nil {
		return t.Store.Whole(o.String())
	}
	return t.Evidence[o.Number()].readLayout(t.Store, o.String())
}

// Layout is [cache.Store.Layout]. One that was found whole is not read again.
func (t *Tree) Layout(o *graph.Output) (cache.Layout, error) {
	if t.Evidence != nil && t.Evidence[o.Number()].whole() {
		return t.Evidence[o.Number()].layout, nil
	}
	return t.Store.Layout(o.String())
}

// Proof is [cache.Store.Proof]: the output's record where that is one.
func (t *Tree) Proof(o *graph.Output, d oci.Digest) (cache.Record, bool) {
	isProof := func(m oci.Manifest) bool { return m.Digest == d }
	rec, err := t.Record(o)
	if err == nil && rec.Origin == cache.BuiltHere && !d.IsZero() && slices.ContainsFunc(rec.Manifests, isProof) {
		return rec, true
	}
	return t.Store.Proof(o.String(), d)
}

// Modified is the mtime of an output's index.json, which is what make compares.
func (t *Tree) Modified(o *graph.Output) (time.Time, error) {
	if t.Evidence != nil && t.Evidence[o.Number()].whole() {
		return t.Evidence[o.Number()].time, nil
	}
	return t.IndexTime(o.String())
}

// Look gathers evidence of an output that platforms are wanted of (nil: those it
// has), as far as it costs no hashing that nobody needs. Errors come again when the
// evidence is asked for.
func (t *Tree) Look(o *graph.Output, platforms []string) {
	if t.Evidence == nil {
		return
	}
	// Of what was not built here, nobody may want to know more.
	rec, err := t.Record(o)
	if err != nil || rec.Origin != cache.BuiltHere {
		return
	}
	t.Whole(o)
	if platforms == nil {
		platforms = PlatformsIn(rec)
	}
	t.Current(o, platforms, rec)
}

// Parallel calls do for every number below n, as many at once as there are
// processors.
func Parallel(n int, do func(i int)) {
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

func PlatformsIn(rec cache.Record) []string {
	var ps []string
	for _, m := range rec.Manifests {
		ps = append(ps, m.Platform)
	}
	return ps
}

// DefinitionTime is the newest mtime of a definition's files.
func (t *Tree) DefinitionTime(d *graph.Definition) time.Time {
	if r, ok := t.Memory.recalled(d); ok {
		return r.newest
	}
	var newest time.Time
	snap, err := t.Snapshot(d)
	if err != nil {
		return newest
	}
	for _, f := range snap.Files {
		if !f.Mode.IsDir() && f.ModTime.After(newest) {
			newest = f.ModTime
		}
	}
	return newest
}

// IndexTime is what make compares.
func (t *Tree) IndexTime(output string) (time.Time, error) {
	info, err := os.Lstat(filepath.Join(t.Dir, "out", output, "index.json"))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
