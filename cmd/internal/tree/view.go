package tree

import (
	"context"
	"errors"
	"io/fs"
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

// View is a tree as it was found: its definitions, and of each output the record and
// what out/ holds. Each is read once, when it is first asked for, and stays what it
// was then, so that a plan and the verdicts of one View agree. What is built later is
// seen by the next View, see [Tree.Look].
type View struct {
	*Tree
	entries []atomic.Pointer[entry] // by the outputs' numbers
}

// Look returns a View in which nothing has been read yet.
func (t *Tree) Look() *View { return t.view(nil) }

// view returns a View that knows the entries seen, by the outputs' names.
func (t *Tree) view(seen map[string]*entry) *View {
	outputs := t.Graph.Outputs()
	v := &View{Tree: t, entries: make([]atomic.Pointer[entry], len(outputs))}
	if seen != nil {
		for i, o := range outputs {
			v.entries[i].Store(seen[o.String()])
		}
	}
	return v
}

// entry is what a View knows of an output.
type entry struct {
	recordOnce sync.Once
	record     cache.Record
	recordErr  error

	checkOnce sync.Once
	layout    cache.Layout // its blobs checked
	layoutErr error
	modified  time.Time   // of its index.json
	checked   atomic.Bool // without an error

	readOnce sync.Once
	read     cache.Layout // its blobs not checked
	readErr  error

	hubOnce sync.Once
	hub     cache.Record
	inHub   bool // out/ has none, and hub is the record of the image in the hub

	mu        sync.Mutex
	current   cache.Key // of a record that is current for these platforms
	platforms []string
}

func (v *View) entry(o *graph.Output) *entry {
	at := &v.entries[o.Number()]
	if e := at.Load(); e != nil {
		return e
	}
	at.CompareAndSwap(nil, new(entry))
	return at.Load()
}

// lookAhead reads entries before the graph is known: of the outputs that sx saw last
// time. It goes no further once ctx is done.
func lookAhead(ctx context.Context, store *cache.Store) map[string]*entry {
	names := store.Remembered()
	seen, entries := make(map[string]*entry, len(names)), make([]*entry, len(names))
	Parallel(len(names), func(i int) {
		if entries[i] = new(entry); ctx.Err() != nil {
			return
		}
		if rec, err := entries[i].readRecord(store, names[i]); err == nil && rec.Origin == cache.BuiltHere {
			entries[i].check(store, names[i])
		}
	})
	for i, name := range names {
		seen[name] = entries[i]
	}
	return seen
}

func (e *entry) readRecord(store *cache.Store, output string) (cache.Record, error) {
	e.recordOnce.Do(func() { e.record, e.recordErr = store.Record(output) })
	return e.record, e.recordErr
}

func (e *entry) check(store *cache.Store, output string) (cache.Layout, error) {
	e.checkOnce.Do(func() {
		e.layout, e.modified, e.layoutErr = store.CheckTime(output)
		e.checked.Store(e.layoutErr == nil)
	})
	return e.layout, e.layoutErr
}

// Hub returns the record of an output that out/ has not and the hub of this run has.
func (v *View) Hub(o *graph.Output) (cache.Record, bool) {
	if v.InHub == nil {
		return cache.Record{}, false
	}
	e := v.entry(o)
	e.hubOnce.Do(func() {
		if _, err := e.readLayout(v.Store, o.String()); errors.Is(err, fs.ErrNotExist) {
			e.hub, e.inHub = v.InHub(o.String())
		}
	})
	return e.hub, e.inHub
}

// hubLayout returns what out/ would hold if it had the image in the hub.
func hubLayout(rec cache.Record) cache.Layout {
	return cache.Layout{Output: rec.Output, Manifests: rec.Manifests, Index: rec.Index, Top: rec.Top}
}

// Record is [cache.Store.Record], or [View.Hub].
func (v *View) Record(o *graph.Output) (cache.Record, error) {
	if rec, ok := v.Hub(o); ok {
		return rec, nil
	}
	return v.entry(o).readRecord(v.Store, o.String())
}

// Check is [cache.Store.CheckTime], or the layout that [View.Hub] is about.
func (v *View) Check(o *graph.Output) (cache.Layout, error) {
	if rec, ok := v.Hub(o); ok {
		return hubLayout(rec), nil
	}
	return v.entry(o).check(v.Store, o.String())
}

// Layout is [cache.Store.Read], or what Check has found.
func (v *View) Layout(o *graph.Output) (cache.Layout, error) {
	if rec, ok := v.Hub(o); ok {
		return hubLayout(rec), nil
	}
	return v.entry(o).readLayout(v.Store, o.String())
}

func (e *entry) readLayout(store *cache.Store, output string) (cache.Layout, error) {
	if e.checked.Load() {
		return e.layout, nil
	}
	e.readOnce.Do(func() { e.read, e.readErr = store.Read(output) })
	return e.read, e.readErr
}

// Proof is [cache.Store.Proof]: the output's own record if it proves d.
func (v *View) Proof(o *graph.Output, d oci.Digest) (cache.Record, bool) {
	isProof := func(m oci.Manifest) bool { return m.Digest == d }
	rec, err := v.Record(o)
	if err == nil && rec.Origin == cache.BuiltHere && !d.IsZero() && slices.ContainsFunc(rec.Manifests, isProof) {
		return rec, true
	}
	return v.Store.Proof(o.String(), d)
}

// Modified returns the mtime of an output's index.json, which is what make compares.
func (v *View) Modified(o *graph.Output) (time.Time, error) {
	if e := v.entry(o); e.checked.Load() {
		return e.modified, nil
	}
	return v.IndexTime(o.String())
}

// IndexTime returns the mtime of an output's index.json at this moment.
func (t *Tree) IndexTime(output string) (time.Time, error) {
	info, err := os.Lstat(filepath.Join(t.Dir, "out", output, "index.json"))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Load reads what a plan or a verdict will ask of an output that is wanted for
// platforms (nil: those that it has), as far as that hashes nothing in vain. An error
// is returned again by the method that needs it.
func (v *View) Load(o *graph.Output, platforms []string) {
	rec, err := v.Record(o)
	if err != nil || rec.Origin != cache.BuiltHere {
		return // its blobs may not matter
	}
	v.Check(o)
	if platforms == nil {
		platforms = PlatformsIn(rec)
	}
	v.Current(o, platforms, rec)
}

// Parallel calls do for every number below n, as many at once as there are processors.
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
