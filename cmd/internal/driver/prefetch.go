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

// prefetcher downloads sources, and images of other registries, while other units are
// built, in the order in which the schedule would start their units. A unit starts as
// soon as its own are present. Units that are not certain to be built get theirs when
// they start: see claimSources.
type prefetcher struct {
	schedule *schedule.Schedule
	failed   func(*plan.Step, error) // is called with each step that cannot be built
	// images pulls the images that a step names. Several goroutines call it.
	images func(context.Context, *plan.Step) error

	mu             sync.Mutex
	sources        []fetch.Source
	owner          map[string]*schedule.Unit // by path: a source belongs to one definition
	missing        map[*schedule.Unit]int    // sources that are neither present nor failed
	awaitingImages map[*schedule.Unit]bool   // units whose images are neither present nor failed
	required       map[*schedule.Unit]chan struct{}
	queue          chan *schedule.Unit
	closed         chan struct{} // closed when serveRequired returns
}

// newPrefetcher prepares s: units that are certain to be built from sources or images of
// other registries are blocked until those are present, and units that are pulled until
// run.preseedImages unblocks them.
func newPrefetcher(s *schedule.Schedule, steps []*plan.Step, failed func(*plan.Step, error), images func(context.Context, *plan.Step) error) *prefetcher {
	p := &prefetcher{
		schedule: s, failed: failed, images: images, owner: map[string]*schedule.Unit{}, missing: map[*schedule.Unit]int{}, awaitingImages: map[*schedule.Unit]bool{},
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
			p.awaitingImages[u] = true
		}
		for _, src := range Sources(u.Steps[0].Output.Definition) {
			if p.owner[src.Path] == nil {
				p.sources = append(p.sources, src)
				p.owner[src.Path] = u
				p.missing[u]++
			}
		}
	}
	return p
}

// isImage reports whether u is a published image to be pulled.
func isImage(u *schedule.Unit) bool { return u.Steps[0].Action == plan.ActionPreseed }

// needsDownload reports whether u is built from sources, or from images of other
// registries.
func needsDownload(u *schedule.Unit) bool {
	return u.Steps[0].Action == plan.ActionBuild && len(u.Steps[0].Output.Definition.Sources) > 0 || namesImages(u)
}

// namesImages reports whether u is built from images of other registries, or from
// published ones.
func namesImages(u *schedule.Unit) bool {
	s := u.Steps[0]
	return s.Action == plan.ActionBuild && (len(s.Output.Definition.Images) > 0 || s.FromPublished && len(s.Output.Deps) > 0)
}

// certain reports whether a member of u will be built whatever digests its dependencies
// get.
func certain(u *schedule.Unit) bool {
	return slices.ContainsFunc(u.Steps, func(s *plan.Step) bool { return s.Because == graph.Ref{} })
}

// download gets the sources and images of all units that are certain to be built, and returns when each source
// and each image is present or failed, or when ctx ends. Its error joins that of
// fetch.Run and those of images.
func (p *prefetcher) download(ctx context.Context, o fetch.Options) error {
	var beside errgroup.Group
	var images error
	beside.Go(func() error {
		images = p.pullImages(ctx)
		return nil
	})
	o.Status = fetchWatcher{o.Status, p.done}
	_, err := fetch.Run(ctx, p.sources, o)
	if ctx.Err() == nil && reportedBySteps(err) {
		p.failRest()
	}
	beside.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources, p.owner = nil, nil // the run goes on for hours without them
	return errors.Join(err, images)
}

// failRest fails the units with sources about which fetch.Run reported nothing. Without
// it they would wait for ever.
func (p *prefetcher) failRest() {
	for _, src := range p.sources {
		if u := p.owner[src.Path]; p.missing[u] > 0 {
			p.fail(u, &SourceError{Source: src.Name, Err: errors.New("nothing is known of it")})
		}
	}
}

// done records that a source is present, or why it is not.
func (p *prefetcher) done(src fetch.Source, err error) {
	p.mu.Lock()
	u := p.owner[src.Path]
	p.missing[u]--
	last := p.missing[u] == 0 && !p.awaitingImages[u]
	p.mu.Unlock()
	if err != nil {
		p.fail(u, &SourceError{Source: src.Name, Err: sourceFailure(err)})
	} else if last {
		p.schedule.Unblock(u)
	}
}

// fail fails a unit that is certain to be built.
func (p *prefetcher) fail(u *schedule.Unit, err error) {
	for _, s := range u.Steps {
		p.failed(s, err)
	}
	p.schedule.FailEarly(u)
}

// sourceFailure returns err, which is about one source, as fetch.Run would return it for
// that source alone.
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

// fetchWatcher calls done when a source is present or failed.
type fetchWatcher struct {
	fetch.Status
	done func(fetch.Source, error)
}

func (w fetchWatcher) Done(src fetch.Source, how string) {
	w.Status.Done(src, how)
	w.done(src, nil)
}

func (w fetchWatcher) Fail(src fetch.Source, mirror string, err error) {
	w.Status.Fail(src, mirror, err)
	if mirror == "" {
		w.done(src, err)
	}
}

// reportedBySteps reports whether err is only about sources and images that could not be
// fetched: the steps that need them report it.
func reportedBySteps(err error) bool {
	switch e := err.(type) {
	case *fetch.Error:
		return e.Stopped == nil
	case *ForeignError, *DependencyError:
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
