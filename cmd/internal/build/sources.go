package build

import (
	"context"
	"errors"
	"fmt"

	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// fetch downloads what the plan will build. An output whose sources cannot be
// had fails when its turn comes; the others go on.
func (r *run) fetch(ctx context.Context, plan *Plan) error {
	var sources []fetch.Source
	owners := map[string][]graph.Ref{}
	for _, s := range plan.Steps {
		if s.Action != ActionBuild {
			continue
		}
		for _, src := range Sources(s.Output.Definition) {
			if owners[src.Path] == nil {
				sources = append(sources, src)
			}
			owners[src.Path] = append(owners[src.Path], s.Output.Ref)
		}
	}
	_, err := fetch.Run(ctx, sources, r.fetchOptions())
	unavailable := missingSources(err)
	if len(unavailable) == 0 || !r.opts.KeepGoing {
		return err
	}
	for _, src := range unavailable {
		for _, ref := range owners[src.Path] {
			r.broken[ref] = &SourceError{Ref: ref, Err: err, Source: src.Name}
		}
	}
	return nil
}

// missingSources are those that err says cannot be had; none when err is about
// something else.
func missingSources(err error) []fetch.Source {
	var failed *fetch.Error
	var offline *fetch.OfflineError
	var out []fetch.Source
	switch {
	case errors.As(err, &failed) && failed.Stopped == nil:
		for _, f := range failed.Failures {
			out = append(out, f.Source)
		}
	case errors.As(err, &offline):
		for _, m := range offline.Missing {
			out = append(out, m.Source)
		}
	}
	return out
}

func (r *run) fetchOptions() fetch.Options {
	o := r.opts.Fetch
	o.Tree, o.TempDir = r.Dir, r.Store.Dir("partial")
	o.Offline = r.opts.Offline
	o.Sum = r.Store.Stats().Sum
	o.Status = r.opts.Status.Sources()
	o.Log = r.log
	return o
}

// Sources are what a definition downloads, as package fetch wants them.
func Sources(d *graph.Definition) []fetch.Source {
	var out []fetch.Source
	for _, s := range d.Sources {
		out = append(out, fetch.Source{
			Name: d.Stage + "/" + d.Name + ": " + s.Key,
			Path: s.Path, Hash: s.Hash, Mirrors: s.Mirrors,
		})
	}
	return out
}

// SourceError says that an output cannot be built for want of a source.
type SourceError struct {
	Ref    graph.Ref
	Source string
	Err    error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("the source %s cannot be had", e.Source)
}

func (e *SourceError) Unwrap() error { return e.Err }
