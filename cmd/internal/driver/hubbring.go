package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/preseed"
)

// bring brings an image that is only wanted in out/ from the hub. It reports false if s must
// be built.
func (h *hub) bring(ctx context.Context, r *run, s *plan.Step) (bool, error) {
	if h == nil || s.Reason != plan.InHub {
		return false, nil
	}
	v := r.Look()
	rec, ok := v.Hub(s.Output)
	if !ok {
		return false, nil
	}
	if reason, err := plan.Stale(v, s.Output, s.Request.Platforms, rec.Engine.Probe); err != nil || reason != nil {
		return false, err
	}
	err := h.ensure(ctx, rec)
	if errors.As(err, new(*preseed.NotFoundError)) {
		return false, nil
	}
	if err == nil {
		err = h.each(ctx, rec, h.Layer)
	}
	if err != nil {
		return false, err
	}
	return true, h.commit(ctx, s, rec)
}

// commit puts an image into out/ whose blobs are all in the store, and records the build
// that made it.
func (h *hub) commit(ctx context.Context, s *plan.Step, rec cache.Record) error {
	into, err := h.store.Stage(rec.Output)
	if err != nil {
		return err
	}
	defer into.Close()
	blobs := []oci.Digest{rec.Index}
	for _, m := range rec.Manifests {
		image, err := h.manifest(m.Digest)
		if err != nil {
			return err
		}
		layers, err := image.Blobs()
		if err != nil {
			return err
		}
		blobs = append(blobs, m.Digest, image.Config.Digest)
		for _, l := range layers {
			blobs = append(blobs, l.Digest)
		}
	}
	for _, d := range blobs {
		if !into.Has(d) {
			return fmt.Errorf("bringing %s from the hub: the shared blob %s is gone", rec.Output, d)
		}
	}
	path, err := h.store.BlobPath(rec.Index)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	_, version, _ := strings.Cut(s.Request.Tags[0], ":")
	l, err := into.Commit(ctx, oci.Descriptor{MediaType: oci.MediaTypeIndex, Digest: rec.Index, Size: info.Size()}, oci.IndexAnnotations(rec.Output, version))
	if err != nil {
		return err
	}
	rec.Origin, rec.From = cache.BuiltHere, ""
	if err := rec.Exact(l); err != nil {
		return fmt.Errorf("bringing %s from the hub: %w", rec.Output, err)
	}
	return h.store.PutRecord(rec)
}

// recheck asks the hub again for the dependencies of a step whose engine could not exchange
// images with it, so that the next run builds what it has lost.
func (h *hub) recheck(ctx context.Context, v *tree.View, s *plan.Step, err error) {
	if h == nil || ctx.Err() != nil || !errors.As(err, new(*buildkit.HubError)) {
		return
	}
	for _, d := range s.Output.Deps {
		rec, ok := v.Hub(v.Graph.Output(d))
		if !ok {
			continue
		}
		h.mu.Lock()
		delete(h.there, rec.Index)
		h.mu.Unlock()
		h.ensure(ctx, rec) // it forgets what is gone
	}
}
