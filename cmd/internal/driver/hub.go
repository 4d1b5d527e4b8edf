package driver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/layout"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
	"codeberg.org/stagex/sx/preseed"
)

// Results says which images a run with a hub brings to out/.
type Results string

// The results. An output that out/ has an older image of is always brought.
const (
	ResultsTargets Results = "targets" // those that were asked for
	ResultsAll     Results = "all"     // also their dependencies
	ResultsNone    Results = "none"
)

// Hub says how a run exchanges images through a registry: engines elsewhere take
// dependencies from it and push results to it. The embedded engine never contacts it: this
// program pushes what that engine built.
type Hub struct {
	*preseed.Hub
	Results Results
}

// hubOf returns the hub for a kind of engine; nil if it has none.
func hubOf(h *Hub, kind string) buildkit.Hub {
	if h == nil || kind == buildkit.EmbeddedKind {
		return nil
	}
	return h.Hub
}

// hub is the hub of a run. The methods of a nil *hub are those of a run without one. It is
// safe for concurrent use.
type hub struct {
	*Hub
	store   *cache.Store
	now     func() time.Time
	targets map[graph.Ref]bool
	name    string // of the run, in tags

	busy  transfer.KeyedMutex[string] // by output
	mu    sync.Mutex                  // guards all below
	there map[oci.Digest]bool         // roots that the hub was seen to have in this run
	gone  map[string]bool             // outputs that it was found to lack
}

// newHub returns the hub of a run, and lets t know what it has by the store's records.
func newHub(t *tree.Tree, targets []graph.Ref, opts Options) *hub {
	if opts.Hub == nil {
		return nil
	}
	h := &hub{
		Hub: opts.Hub, store: t.Store, now: opts.Now, targets: map[graph.Ref]bool{},
		name:  opts.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:5]),
		there: map[oci.Digest]bool{}, gone: map[string]bool{},
	}
	for _, ref := range targets {
		h.targets[ref] = true
	}
	t.InHub = h.record
	return h
}

// LookInHub lets plans of t count what the hub has by the store's records, without asking
// it. It returns which outputs a run would bring to out/, for [plan.Options].Wanted.
func LookInHub(t *tree.Tree, targets []graph.Ref, h *Hub) (wanted func(graph.Ref) bool) {
	return newHub(t, targets, Options{Hub: h, Now: time.Now}).wants()
}

func (h *hub) close(log *zap.Logger) {
	if h == nil {
		return
	}
	received, sent := h.Traffic()
	log.Info("layers through this machine", zap.String("hub", h.Repository()), zap.Int64("bytes_received", received), zap.Int64("bytes_sent", sent))
}

// record returns the record of an image that the hub has, for [tree.Tree].InHub.
func (h *hub) record(output string) (cache.Record, bool) {
	h.mu.Lock()
	gone := h.gone[output]
	h.mu.Unlock()
	if gone {
		return cache.Record{}, false
	}
	rec, err := h.store.HubRecord(output)
	return rec, err == nil && rec.From == h.Repository()
}

// uses reports whether an engine exchanges images through the hub.
func (h *hub) uses(e *engine) bool { return h != nil && e.Kind() != buildkit.EmbeddedKind }

// wants returns what reports whether out/ is to have an output; nil without a hub.
func (h *hub) wants() func(graph.Ref) bool {
	if h == nil {
		return nil
	}
	return h.wanted
}

func (h *hub) wanted(ref graph.Ref) bool {
	return h.Results == ResultsAll || h.Results == ResultsTargets && h.targets[ref]
}

// intoOut reports whether a build on an engine is to put its result into out/.
func (h *hub) intoOut(e *engine, ref graph.Ref) bool {
	if !h.uses(e) || h.wanted(ref) {
		return true
	}
	_, err := os.Lstat(h.store.Out(ref.String())) // beside a newer one in the hub it would be old
	return err == nil
}

// tagFor returns the tag for the result of a build on an engine, "" if it does not go
// through the hub.
func (h *hub) tagFor(e *engine, ref graph.Ref) string {
	if !h.uses(e) {
		return ""
	}
	return h.tag(ref.String())
}

// tag returns "run-<id>-<output>"; a tag has no "+" and at most 128 characters.
func (h *hub) tag(output string) string {
	tag := "run-" + h.name + "-" + strings.ReplaceAll(output, "+", "_")
	if len(tag) > 128 || strings.Contains(output, "+") {
		sum := fmt.Sprintf("-%x", sha256.Sum256([]byte(output)))[:17]
		tag = tag[:min(len(tag), 128-len(sum))] + sum
	}
	return tag
}

func (h *hub) has(root oci.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.there[root] = true
}

func (h *hub) seen(root oci.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.there[root]
}

// missing asks the hub, if anything is to be built, whether it has the images that steps
// read from it, and reports whether one is gone: the plan must be made again.
func (h *hub) missing(ctx context.Context, v *tree.View, p *plan.Plan) (gone bool, err error) {
	if p.Count(plan.ActionBuild) == 0 {
		return false, nil
	}
	if err := h.Check(ctx); err != nil {
		return false, err
	}
	var lost atomic.Bool
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(hubRequests)
	for _, rec := range h.read(v, p) {
		workers.Go(func() error {
			err := h.ensure(ctx, rec)
			if errors.As(err, new(*preseed.NotFoundError)) {
				lost.Store(true)
				return nil
			}
			return err
		})
	}
	err = workers.Wait()
	return lost.Load(), err
}

// hubRequests is how many images sx asks the hub about at once.
const hubRequests = 8

// read returns the records of the images in the hub that steps of p read as they are.
func (h *hub) read(v *tree.View, p *plan.Plan) map[graph.Ref]cache.Record {
	built, needed := map[graph.Ref]bool{}, map[graph.Ref]bool{}
	for _, s := range p.Steps {
		if s.Action != plan.ActionBuild {
			continue
		}
		if s.Reason == plan.InHub {
			needed[s.Output.Ref] = true
			continue
		}
		built[s.Output.Ref] = true
		for _, d := range s.Output.Deps {
			needed[d] = true
		}
	}
	records := map[graph.Ref]cache.Record{}
	for ref := range needed {
		if rec, ok := v.Hub(v.Graph.Output(ref)); ok && !built[ref] {
			records[ref] = rec
		}
	}
	return records
}

// ensure makes the documents of an image in the hub blobs of the store, and asks for its
// layers. If one is not there, the image is forgotten, and the error is a
// *preseed.NotFoundError.
func (h *hub) ensure(ctx context.Context, rec cache.Record) error {
	unlock, err := h.busy.Lock(ctx, rec.Output)
	if err != nil {
		return err
	}
	defer unlock()
	if h.seen(rec.Index) {
		return nil
	}
	err = h.each(ctx, rec, h.Has)
	switch {
	case err == nil:
		h.has(rec.Index)
	case errors.As(err, new(*preseed.NotFoundError)):
		h.mu.Lock()
		h.gone[rec.Output] = true
		h.mu.Unlock()
		return errors.Join(err, h.store.ForgetHub(rec.Output))
	}
	return err
}

// each fetches the documents of an image, and calls do with each of its layers.
func (h *hub) each(ctx context.Context, rec cache.Record, do func(context.Context, oci.Descriptor) error) error {
	if err := h.Document(ctx, oci.Descriptor{MediaType: oci.MediaTypeIndex, Digest: rec.Index}); err != nil {
		return err
	}
	var layers []oci.Descriptor
	for _, m := range rec.Manifests {
		if err := h.Document(ctx, oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: m.Digest, Size: m.Size}); err != nil {
			return err
		}
		image, err := h.manifest(m.Digest)
		if err != nil {
			return err
		}
		if err := h.Document(ctx, image.Config); err != nil {
			return err
		}
		blobs, err := image.Blobs()
		if err != nil {
			return err
		}
		layers = append(layers, blobs...)
	}
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(hubRequests)
	for _, d := range layers {
		workers.Go(func() error { return do(ctx, d) })
	}
	return workers.Wait()
}

func (h *hub) manifest(d oci.Digest) (m oci.ImageManifest, err error) {
	path, err := h.store.BlobPath(d)
	if err != nil {
		return m, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	return oci.ParseManifest(data, oci.MediaTypeManifest)
}

// dependency returns an image that a step is built from. Through the hub it is there, else
// its layers are among the shared blobs.
func (h *hub) dependency(ctx context.Context, v *tree.View, d graph.Ref, through bool) (cache.Layout, error) {
	rec, inHub := v.Hub(v.Graph.Output(d))
	if !inHub {
		l, err := h.store.Import(ctx, d.String())
		if err == nil && through {
			err = h.push(ctx, d)
		}
		if err != nil {
			err = fmt.Errorf("reading the dependency out/%s: %w", d, err)
		}
		return l, err
	}
	err := h.ensure(ctx, rec)
	if err == nil && !through {
		err = h.each(ctx, rec, h.Layer)
	}
	if err != nil {
		return cache.Layout{}, fmt.Errorf("reading the dependency %s: %w", d, err)
	}
	return layout.Layout{Output: rec.Output, Manifests: rec.Manifests, Index: rec.Index, Top: rec.Top}, nil
}

// push pushes an output of out/ to the hub, once in a run.
func (h *hub) push(ctx context.Context, ref graph.Ref) error {
	unlock, err := h.busy.Lock(ctx, ref.String())
	if err != nil {
		return err
	}
	defer unlock()
	img, err := h.store.Image(ref.String())
	if err != nil {
		return err
	}
	defer img.Close()
	if h.seen(img.Root.Digest) {
		return nil
	}
	if err = h.Push(ctx, img, h.tag(ref.String())); err == nil {
		h.has(img.Root.Digest)
	}
	return err
}

// keep records an image that stays in the hub.
func (h *hub) keep(job buildkit.Job, img *buildkit.Image, rec cache.Record, ended time.Time) (cache.Layout, error) {
	index, err := oci.ParseDigest(img.Index.Digest.String())
	if err != nil {
		return cache.Layout{}, err
	}
	top, err := oci.IndexJSON(oci.Descriptor{MediaType: img.Index.MediaType, Digest: index, Size: img.Index.Size}, img.Annotations)
	if err != nil {
		return cache.Layout{}, err
	}
	rec.Manifests, rec.Index, rec.Top = img.Manifests, index, oci.DigestOf(top)
	rec.From, rec.Finished = h.Repository(), ended
	if err := h.store.PutHubRecord(rec); err != nil {
		return cache.Layout{}, err
	}
	h.mu.Lock()
	h.there[index] = true
	delete(h.gone, rec.Output)
	h.mu.Unlock()
	return layout.Layout{Output: rec.Output, Manifests: rec.Manifests, Index: rec.Index, Top: rec.Top}, nil
}
