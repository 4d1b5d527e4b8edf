package driver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// dependency returns what a step is built from on an engine: what out/ or the hub holds of
// d or, in [Reproduce], the published image.
func (r *run) dependency(ctx context.Context, e *engine, d graph.Ref) (cache.Layout, error) {
	if r.hub != nil {
		return r.hub.dependency(ctx, r.Look(), d, r.hub.uses(e))
	}
	if r.from != nil {
		return r.from.layout(ctx, d, r.Published[d.String()])
	}
	if l, ok := r.imports.recent(d); ok {
		return l, nil
	}
	l, err := r.Store.Import(ctx, d.String())
	if err != nil {
		return l, fmt.Errorf("reading the dependency out/%s: %w", d, err)
	}
	r.imports.add(d, l)
	return l, nil
}

// imports remembers for importsLast what a run has imported: many outputs have the same
// dependencies. A build may wait as long between its own import and the time at which the
// engine reads the blobs. The engine reads them by digest, after another look at each
// ([cache.Store.BlobPath]), and the record names the same digests.
type imports struct {
	mu      sync.Mutex
	since   time.Time // all layouts were imported after it
	layouts map[graph.Ref]cache.Layout
}

const importsLast = 10 * time.Second

// recent returns what an import of d returned within importsLast.
func (i *imports) recent(d graph.Ref) (cache.Layout, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.since) > importsLast {
		i.since, i.layouts = time.Now(), map[graph.Ref]cache.Layout{}
	}
	l, ok := i.layouts[d]
	return l, ok
}

// add records an import.
func (i *imports) add(d graph.Ref, l cache.Layout) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.layouts[d] = l
}

// forget records that the layout of d in out/ was replaced.
func (i *imports) forget(d graph.Ref) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.layouts, d)
}
