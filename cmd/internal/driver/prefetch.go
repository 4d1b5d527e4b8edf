package driver

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// prefetcher downloads the sources of what a schedule will build, and the images of other
// registries, while it builds other things, in the order in which it would come to
// them. A unit starts as soon as its own are there. Those of units that are not sure
// to be built are downloaded on demand: see claim.
type prefetcher struct {
	schedule *schedule.Schedule
	failed   func(*plan.Step, error) // is told of each step that cannot be built
	// images pulls those that a step names. Several goroutines call it.
	images func(context.Context, *plan.Step) error

	mu             sync.Mutex
	sources        []fetch.Source
	owner          map[string]*schedule.Unit // by path: a source belongs to one definition
	missing        map[*schedule.Unit]int    // sources that are neither had nor failed
	awaitingImages map[*schedule.Unit]bool   // images that are not
	required       map[*schedule.Unit]chan struct{}
	queue          chan *schedule.Unit
	closed         chan struct{} // closed when nothing is downloaded any more
}

// newPrefetcher prepares s to wait for the sources of what is built from source, and for
// images, which are another's matter.
func newPrefetcher(s *schedule.Schedule, steps []*plan.Step, broke func(*plan.Step, error), images func(context.Context, *plan.Step) error) *prefetcher {
	a := &prefetcher{
		schedule: s, failed: broke, images: images, owner: map[string]*schedule.Unit{}, missing: map[*schedule.Unit]int{}, awaitingImages: map[*schedule.Unit]bool{},
		required: map[*schedule.Unit]chan struct{}{}, queue: make(chan *schedule.Unit, len(steps)),
		closed: make(chan struct{}),
	}
	s.Prepare(steps, func(u *schedule.Unit) bool { return needsDownload(u) && certain(u) || isImage(u) })
	byRank := slices.Clone(s.Units)
	slices.SortFunc(byRank, func(x, y *schedule.Unit) int { return x.Rank - y.Rank })
	for _, u := range byRank {
		if !u.Blocked || isImage(u) {
			continue
		}
		if namesImages(u) {
			a.awaitingImages[u] = true
		}
		for _, src := range Sources(u.Steps[0].Output.Definition) {
			if a.owner[src.Path] == nil {
				a.sources = append(a.sources, src)
				a.owner[src.Path] = u
				a.missing[u]++
			}
		}
	}
	return a
}

func isImage(u *schedule.Unit) bool { return u.Steps[0].Action == plan.ActionPreseed }

// needsDownload holds for what is built from sources, or from images of other
// registries.
func needsDownload(u *schedule.Unit) bool {
	return u.Steps[0].Action == plan.ActionBuild && len(u.Steps[0].Output.Definition.Sources) > 0 || namesImages(u)
}

func namesImages(u *schedule.Unit) bool {
	return u.Steps[0].Action == plan.ActionBuild && len(u.Steps[0].Output.Definition.Images) > 0
}

// certain reports that some member of u will be built, however what it depends on
// comes out.
func certain(u *schedule.Unit) bool {
	return slices.ContainsFunc(u.Steps, func(s *plan.Step) bool { return s.Because == graph.Ref{} })
}

// run downloads for all units that are sure to be built, and returns when each source
// and each image was had, cannot be had, or ctx has ended. Its error joins that of
// fetch.Run and those of images.
func (a *prefetcher) run(ctx context.Context, o fetch.Options) error {
	var beside errgroup.Group
	var images error
	beside.Go(func() error {
		images = a.pullImages(ctx)
		return nil
	})
	o.Status = fetchWatcher{o.Status, a.done}
	_, err := fetch.Run(ctx, a.sources, o)
	if ctx.Err() == nil && reportedBySteps(err) {
		a.failRest()
	}
	beside.Wait()
	return errors.Join(err, images)
}

// failRest lets nothing wait for what fetch.Run did not speak of, which would
// be for ever.
func (a *prefetcher) failRest() {
	for _, src := range a.sources {
		if u := a.owner[src.Path]; a.missing[u] > 0 {
			a.fail(u, &SourceError{Source: src.Name, Err: errors.New("nothing is known of it")})
		}
	}
}

// done takes in that a source is there, or why it cannot be had.
func (a *prefetcher) done(src fetch.Source, err error) {
	a.mu.Lock()
	u := a.owner[src.Path]
	a.missing[u]--
	last := a.missing[u] == 0 && !a.awaitingImages[u]
	a.mu.Unlock()
	if err != nil {
		a.fail(u, &SourceError{Source: src.Name, Err: sourceFailure(err)})
	} else if last {
		a.schedule.Unblock(u)
	}
}

// fail dooms a unit that is sure to be built.
func (a *prefetcher) fail(u *schedule.Unit, err error) {
	for _, s := range u.Steps {
		a.failed(s, err)
	}
	a.schedule.FailEarly(u)
}

// sourceFailure is the error that fetch.Run would give if it were about this
// source only.
func sourceFailure(err error) error {
	var failure fetch.Failure
	var missing fetch.Missing
	switch {
	case errors.As(err, &failure):
		return &fetch.Error{Failures: []fetch.Failure{failure}, Total: 1}
	case errors.As(err, &missing):
		return &fetch.OfflineError{Missing: []fetch.Missing{missing}}
	}
	return err
}

// fetchWatcher tells of each source that is settled.
type fetchWatcher struct {
	fetch.Status
	done func(fetch.Source, error)
}

func (a fetchWatcher) Done(src fetch.Source, how string) {
	a.Status.Done(src, how)
	a.done(src, nil)
}

func (a fetchWatcher) Fail(src fetch.Source, mirror string, err error) {
	a.Status.Fail(src, mirror, err)
	if mirror == "" {
		a.done(src, err)
	}
}

// reportedBySteps holds for an error that the steps it concerns tell of: sources and images
// that cannot be had, and nothing else.
func reportedBySteps(err error) bool {
	switch e := err.(type) {
	case *fetch.Error:
		return e.Stopped == nil
	case *ForeignError:
		return true
	case interface{ Unwrap() []error }: // joined
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !reportedBySteps(err) })
	}
	var failed *fetch.Error
	var offline *fetch.OfflineError
	if errors.As(err, &failed) {
		return failed.Stopped == nil
	}
	return err == nil || errors.As(err, &offline)
}
