package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// Reason says why an output must be built, whatever becomes of its dependencies, and
// lists the changes that it is about, if it is about any. Nil: it need not be built.
// The words are made when they are asked for: of most outputs nobody does.
type Reason func() (text string, changes []Change)

// String returns the words, "" for nil.
func (r Reason) String() string {
	if r == nil {
		return ""
	}
	words, _ := r()
	return words
}

func because(format string, args ...any) Reason {
	return func() (string, []Change) { return fmt.Sprintf(format, args...), nil }
}

// neverBuilt is the reason of an output that is neither in out/ nor recorded.
const neverBuilt = "not built yet"

// Stale returns why o must be built for platforms on an engine with that probe, its
// dependencies being what out/ holds.
func Stale(v *tree.View, o *graph.Output, platforms []string, probe string) (Reason, error) {
	return staleness{view: v, probe: probe}.of(o, platforms)
}

// staleness decides whether outputs must be built.
type staleness struct {
	view  *tree.View
	probe string // of the engine that would build

	// will are dependencies that will be built: nobody knows with what result, so they
	// count as unchanged. Of those that will be pulled, images has the result.
	will   pending
	images map[graph.Ref][]oci.Manifest
	// wanted reports whether out/ is to have an output that the hub has; nil: none.
	wanted func(graph.Ref) bool
}

// InHub is the reason of an output that need not be built: its image is in the hub, and
// wanted in out/.
const InHub = "its image is in the hub, not in out/"

// of returns the reason to build o, or to bring it from the hub.
func (s staleness) of(o *graph.Output, platforms []string) (Reason, error) {
	reason, err := s.changed(o, platforms)
	if err != nil || reason != nil || s.wanted == nil || !s.wanted(o.Ref) {
		return reason, err
	}
	if _, there := s.view.Hub(o); there {
		return because(InHub), nil
	}
	return nil, nil
}

// changed returns the reason to build o. There is none if o was built here, out/ or the hub
// holds what its record says, out/ with every blob whole, and the record's key is today's key.
func (s staleness) changed(o *graph.Output, platforms []string) (Reason, error) {
	rec, reason := s.record(o)
	if reason == nil {
		reason = s.layout(o, rec)
	}
	if reason != nil {
		return reason, nil
	}
	same, missing := s.sameDeps(o, rec.Deps)
	if missing != nil {
		return because("out/%s is gone", missing), nil
	}
	if same && rec.Engine.Probe == s.probe {
		if current, err := s.view.Current(o, platforms, rec); err != nil || current {
			return nil, err
		}
	}
	now, err := s.view.Parts(o, o.Request(platforms), s.deps(o, rec.Deps), s.probe)
	if err != nil {
		return nil, err
	}
	key, err := cache.NewKey(now)
	if err != nil || key == rec.Key {
		return nil, err
	}
	return func() (string, []Change) {
		cs := changesSince(s.view.Store, rec, now)
		return sentence(cs), cs
	}, nil
}

// record returns the record of o's build here, or the reason if there is none.
func (s staleness) record(o *graph.Output) (cache.Record, Reason) {
	rec, err := recordOf(s.view, o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := s.view.Layout(o); err == nil {
			return rec, because("out/%s was not built here", o)
		}
		return rec, because(neverBuilt)
	case errors.As(err, new(*cache.ForgedError)):
		return rec, because("its record was not written by this user's sx")
	case err != nil:
		return rec, because("its record cannot be believed: %v", err)
	case rec.Origin != cache.BuiltHere && rec.Origin != cache.InHub:
		if _, err := s.view.Layout(o); errors.Is(err, fs.ErrNotExist) {
			return rec, because(neverBuilt)
		}
		return rec, because("out/%s was not built here", o)
	}
	return rec, nil
}

// recordOf returns the record of o or, if it is gone or tells of a published image that
// was pulled, the proof that the image in out/ was built here.
func recordOf(v *tree.View, o *graph.Output) (cache.Record, error) {
	rec, err := v.Record(o)
	if gone := errors.Is(err, fs.ErrNotExist); !gone && (err != nil || rec.Origin == cache.BuiltHere || rec.Origin == cache.InHub) {
		return rec, err
	}
	if l, lerr := v.Layout(o); lerr == nil {
		if proof, ok := v.Store.Proof(o.String(), l.Digest()); ok {
			return proof, nil
		}
	}
	return rec, err
}

// layout returns the reason if out/ does not hold, whole, what rec says.
func (s staleness) layout(o *graph.Output, rec cache.Record) Reason {
	layout, err := s.view.Check(o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return because("out/%s is gone", o)
	case err != nil:
		return because("out/%s is damaged: %v", o, err)
	}
	if err := rec.Exact(layout); err != nil {
		return because("out/%s is not what was built: %v", o, err)
	}
	return nil
}

// sameDeps reports whether o's dependencies, and their order, are as they were, or
// returns the first that is missing. It may report false for equal sets of images: then
// the keys are equal.
func (s staleness) sameDeps(o *graph.Output, was cache.Deps) (same bool, missing *graph.Output) {
	same = len(o.Inputs()) == len(was)
	for i, dep := range o.Inputs() {
		images, ok := s.dep(dep, was)
		if !ok {
			return false, dep
		}
		same = same && was[i].Output == dep.String() && slices.Equal(was[i].Images, images)
	}
	return same, nil
}

// deps returns o's dependencies as they are or will be.
func (s staleness) deps(o *graph.Output, was cache.Deps) (deps cache.Deps) {
	for _, dep := range o.Inputs() {
		images, _ := s.dep(dep, was)
		deps = append(deps, cache.Dep{Output: dep.String(), Images: images})
	}
	return deps
}

// dep returns the images of a dependency that had those of was; ok is false if it has none.
func (s staleness) dep(dep *graph.Output, was cache.Deps) (images []oci.Manifest, ok bool) {
	if s.will[dep.Ref] > 0 {
		return was.Images(dep.String()), true
	}
	if images := s.images[dep.Ref]; images != nil {
		return images, true
	}
	l, err := s.view.Layout(dep)
	return l.Manifests, err == nil
}
