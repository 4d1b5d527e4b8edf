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
	pages []atomic.Pointer[page] // each once an output of it is asked for
}

// page holds the entries of outputs whose numbers follow each other: most views are asked
// for a few outputs of thousands.
type page [512]atomic.Pointer[entry]

// Look returns a View in which nothing has been read yet.
func (t *Tree) Look() *View { return t.view(nil) }

// view returns a View that knows the entries seen, by the outputs' names.
func (t *Tree) view(seen map[string]*entry) *View {
	v := &View{Tree: t, pages: make([]atomic.Pointer[page], t.Graph.Len()/len(page{})+1)}
	if seen != nil {
		for _, o := range t.Graph.Outputs() {
			v.place(o).Store(seen[o.String()])
		}
	}
	return v
}

// place returns where the entry of o is kept.
func (v *View) place(o *graph.Output) *atomic.Pointer[entry] {
	at, in := o.Number()/len(page{}), o.Number()%len(page{})
	if v.pages[at].Load() == nil {
		v.pages[at].CompareAndSwap(nil, new(page))
	}
	return &v.pages[at].Load()[in]
}

// entry is what a View knows of an output. What was not found takes no room.
type entry struct {
	recordOnce sync.Once
	record     *cache.Record
	recordErr  error

	checkOnce sync.Once
	checked   atomic.Pointer[checked] // nil after an error
	checkErr  error

	readOnce sync.Once
	read     *cache.Layout // its blobs not checked
	readErr  error

	hubOnce sync.Once
	hub     *cache.Record // of the image in the hub, if out/ has none; else nil

	mu        sync.Mutex
	current   cache.Key // of a record that is current for these platforms
	platforms []string
}

// checked is a layout whose blobs were checked.
type checked struct {
	layout   cache.Layout
	modified time.Time // of its index.json
}

func (v *View) entry(o *graph.Output) *entry {
	at := v.place(o)
	if e := at.Load(); e != nil {
		return e
	}
	at.CompareAndSwap(nil, new(entry))
	return at.Load()
}

// absentError says that an output has no record, or no layout. Before a first build that is
// so of all outputs, and the error of the system that it stands for is ten times as large.
type absentError struct{ what, output string }

func (e *absentError) Error() string { return "there is no " + e.what + e.output }

func (e *absentError) Is(target error) bool { return target == fs.ErrNotExist }

// absent returns an *absentError for an error that something does not exist, or err. That
// a record is of another version of sx, so that there is none for this one, is said on.
func absent(err error, what, output string) error {
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*cache.VersionError)) {
		return err
	}
	return &absentError{what, output}
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
	e.recordOnce.Do(func() {
		rec, err := store.Record(output)
		if e.recordErr = absent(err, "record of ", output); err == nil {
			e.record = &rec
		}
	})
	if e.record == nil {
		return cache.Record{}, e.recordErr
	}
	return *e.record, nil
}

func (e *entry) check(store *cache.Store, output string) (cache.Layout, error) {
	e.checkOnce.Do(func() {
		l, at, err := store.CheckTime(output)
		if e.checkErr = absent(err, "image in out/", output); err == nil {
			e.checked.Store(&checked{l, at})
		}
	})
	if c := e.checked.Load(); c != nil {
		return c.layout, nil
	}
	return cache.Layout{}, e.checkErr
}

// Hub returns the record of an output that out/ has not and the hub of this run has.
func (v *View) Hub(o *graph.Output) (cache.Record, bool) {
	if v.InHub == nil {
		return cache.Record{}, false
	}
	e := v.entry(o)
	e.hubOnce.Do(func() {
		if _, err := e.readLayout(v.Store, o.String()); errors.Is(err, fs.ErrNotExist) {
			if rec, ok := v.InHub(o.String()); ok {
				e.hub = &rec
			}
		}
	})
	if e.hub == nil {
		return cache.Record{}, false
	}
	return *e.hub, true
}

// RecordNow is [View.Record] of a new View.
func (t *Tree) RecordNow(o *graph.Output) (cache.Record, error) {
	if t.InHub != nil {
		return t.Look().Record(o)
	}
	return t.Store.Record(o.String())
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
	if c := e.checked.Load(); c != nil {
		return c.layout, nil
	}
	e.readOnce.Do(func() {
		l, err := store.Read(output)
		if e.readErr = absent(err, "image in out/", output); err == nil {
			e.read = &l
		}
	})
	if e.read == nil {
		return cache.Layout{}, e.readErr
	}
	return *e.read, nil
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
	if c := v.entry(o).checked.Load(); c != nil {
		return c.modified, nil
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
