package driver

import (
	"cmp"
	"context"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/fetch"
)

// claimSources sees to the sources of a unit that was not sure to be built, when its
// turn has come and it must be. The wait ends when they are settled. What needs
// it will most likely be built as well: its sources are fetched meanwhile.
func (a *prefetcher) claimSources(u *schedule.Unit, needed func(*plan.Step) bool) (wait func(context.Context)) {
	if certain(u) || !needsDownload(u) || !anyOf(u.Steps, needed) {
		return nil
	}
	settled := a.require(u)
	for _, behind := range u.Dependents {
		for _, next := range behind {
			if !certain(next) && needsDownload(next) {
				a.require(next)
			}
		}
	}
	select {
	case <-settled:
		return nil
	default:
		return func(ctx context.Context) {
			select {
			case <-settled:
			case <-a.closed:
			case <-ctx.Done():
			}
		}
	}
}

func anyOf(steps []*plan.Step, holds func(*plan.Step) bool) bool {
	for _, s := range steps {
		if holds(s) {
			return true
		}
	}
	return false
}

// require asks for the sources of u, once. The channel closes when each of them
// was had or cannot be had.
func (a *prefetcher) require(u *schedule.Unit) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.required[u] == nil {
		a.required[u] = make(chan struct{})
		a.queue <- u // has room for all
	}
	return a.required[u]
}

// serveRequired downloads what is demanded until ctx ends, which also ends every wait.
// It returns the first error that is not about a source.
func (a *prefetcher) serveRequired(ctx context.Context, o fetch.Options) error {
	defer close(a.closed)
	jobs, perHost := cmp.Or(o.Jobs, fetch.DefaultJobs), cmp.Or(o.PerHost, fetch.DefaultPerHost)
	atOnce := min(4, jobs, perHost) // which share the limits
	o.Jobs, o.PerHost = jobs/atOnce, perHost/atOnce
	workers, ctx := errgroup.WithContext(ctx)
	for range atOnce {
		workers.Go(func() error {
			for {
				select {
				case u := <-a.queue:
					if err := a.serveOne(ctx, u, o); err != nil {
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

func (a *prefetcher) serveOne(ctx context.Context, u *schedule.Unit, o fetch.Options) error {
	o.Status = fetchWatcher{&unlessPresent{Status: o.Status}, func(src fetch.Source, err error) {
		if err == nil {
			return
		}
		for _, s := range u.Steps {
			a.failed(s, &SourceError{Source: src.Name, Err: sourceFailure(err)})
		}
	}}
	_, err := fetch.Run(ctx, Sources(u.Steps[0].Output.Definition), o)
	if ctx.Err() != nil {
		return nil
	}
	if reportedBySteps(err) {
		err = a.pullFor(ctx, u, func(err error) {
			for _, s := range u.Steps {
				a.failed(s, err)
			}
		})
	}
	if ctx.Err() != nil {
		return nil
	}
	if !reportedBySteps(err) {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.required[u])
	return nil
}

// unlessPresent says nothing of a fetch.Run that finds everything there.
type unlessPresent struct {
	fetch.Status
	sources int
	begun   bool
}

func (p *unlessPresent) Begin(n int) { p.sources = n }

func (p *unlessPresent) Start(s fetch.Source, mirror string, done, size int64) {
	p.speak()
	p.Status.Start(s, mirror, done, size)
}

func (p *unlessPresent) Done(s fetch.Source, how string) {
	if p.begun || how != fetch.Present {
		p.speak()
		p.Status.Done(s, how)
	}
}

func (p *unlessPresent) Fail(s fetch.Source, mirror string, err error) {
	p.speak()
	p.Status.Fail(s, mirror, err)
}

func (p *unlessPresent) End() {
	if p.begun {
		p.Status.End()
	}
}

func (p *unlessPresent) speak() {
	if !p.begun {
		p.begun = true
		p.Status.Begin(p.sources)
	}
}
