package driver

import (
	"cmp"
	"context"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/fetch"
)

// claimSources downloads the sources of a unit that was not certain to be built, when it
// is about to start and must be built. The wait ends when each source is present or
// failed. The unit's dependents will most likely be built too, so their sources are
// downloaded at the same time.
func (p *prefetcher) claimSources(u *schedule.Unit, needed func(*plan.Step) bool) (wait func(context.Context)) {
	if certain(u) || !needsDownload(u) || !anyOf(u.Left(), needed) {
		return nil
	}
	ready := p.require(u)
	for _, dependents := range u.Dependents {
		for _, next := range dependents {
			if !certain(next) && needsDownload(next) {
				p.require(next)
			}
		}
	}
	select {
	case <-ready:
		return nil
	default:
		return func(ctx context.Context) {
			select {
			case <-ready:
			case <-p.closed:
			case <-ctx.Done():
			}
		}
	}
}

// anyOf reports whether holds is true for a step.
func anyOf(steps []*plan.Step, holds func(*plan.Step) bool) bool {
	for _, s := range steps {
		if holds(s) {
			return true
		}
	}
	return false
}

// require queues the sources of u, once. The channel closes when each of them is present
// or failed.
func (p *prefetcher) require(u *schedule.Unit) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.required[u] == nil {
		p.required[u] = make(chan struct{})
		p.queue <- u // it has room for all units
	}
	return p.required[u]
}

// serveRequired downloads the queued sources until ctx ends, and then ends every wait. It
// returns the first error that is not about a source or an image.
func (p *prefetcher) serveRequired(ctx context.Context, o fetch.Options) error {
	defer close(p.closed)
	jobs, perHost := cmp.Or(o.Jobs, fetch.DefaultJobs), cmp.Or(o.PerHost, fetch.DefaultPerHost)
	atOnce := min(4, jobs, perHost) // which share the limits
	o.Jobs, o.PerHost = jobs/atOnce, perHost/atOnce
	workers, ctx := errgroup.WithContext(ctx)
	for range atOnce {
		workers.Go(func() error {
			for {
				select {
				case u := <-p.queue:
					if err := p.serveOne(ctx, u, o); err != nil {
						return err
					}
				case <-ctx.Done():
					return nil
				}
			}
		})
	}
	return workers.Wait()
}

// serveOne downloads the sources and pulls the images of u.
func (p *prefetcher) serveOne(ctx context.Context, u *schedule.Unit, o fetch.Options) error {
	o.Status = fetchWatcher{&unlessPresent{Status: o.Status}, func(src fetch.Source, err error) {
		if err == nil {
			return
		}
		for _, s := range u.Steps {
			p.failed(s, &SourceError{Source: src.Name, Err: sourceFailure(err)})
		}
	}}
	_, err := fetch.Run(ctx, Sources(u.Steps[0].Output.Definition), o)
	if ctx.Err() != nil {
		return nil
	}
	if reportedBySteps(err) {
		err = p.pullFor(ctx, u, func(err error) {
			for _, s := range u.Steps {
				p.failed(s, err)
			}
		})
	}
	if ctx.Err() != nil {
		return nil
	}
	if !reportedBySteps(err) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.required[u])
	return nil
}

// unlessPresent reports nothing about a fetch.Run that finds all sources present.
type unlessPresent struct {
	fetch.Status
	sources int
	begun   bool
}

func (p *unlessPresent) Begin(n int) { p.sources = n }

func (p *unlessPresent) Start(s fetch.Source, mirror string, done, size int64) {
	p.begin()
	p.Status.Start(s, mirror, done, size)
}

func (p *unlessPresent) Done(s fetch.Source, how string) {
	if p.begun || how != fetch.Present {
		p.begin()
		p.Status.Done(s, how)
	}
}

func (p *unlessPresent) Fail(s fetch.Source, mirror string, err error) {
	p.begin()
	p.Status.Fail(s, mirror, err)
}

func (p *unlessPresent) End() {
	if p.begun {
		p.Status.End()
	}
}

// begin reports the beginning, once.
func (p *unlessPresent) begin() {
	if !p.begun {
		p.begun = true
		p.Status.Begin(p.sources)
	}
}
