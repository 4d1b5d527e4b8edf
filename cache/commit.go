package cache

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Commit makes the staged layout out/<output>: writes oci-layout and index.json
// exactly as `docker buildx build -o type=oci` leaves them, checks that every blob
// that index leads to is there and no other, syncs, and swaps the folder into
// place. Whatever happens, out/<output> is the old layout or the new one.
// The staging is used up, also by an error.
func (t *Staging) Commit(ctx context.Context, index oci.Descriptor, annotations map[string]string) (Layout, error) {
	l, err := t.commit(ctx, index, annotations)
	if err != nil {
		return Layout{}, errors.Join(fmt.Errorf("committing output %q: %w", t.output, err), t.Close())
	}
	if err := errors.Join(t.s.retire(t.layout()), t.Close()); err != nil {
		t.s.log.Warn("old layout is left behind", zap.String("output", t.output), zap.Error(err))
	}
	return l, nil
}

func (t *Staging) commit(ctx context.Context, index oci.Descriptor, annotations map[string]string) (Layout, error) {
	if t.isDone() {
		return Layout{}, errors.New("the staging is closed")
	}
	if err := t.writeFiles(index, annotations); err != nil {
		return Layout{}, err
	}
	l, err := t.check(ctx)
	if err != nil {
		return Layout{}, err
	}
	for _, path := range []string{
		t.layout("blobs", "sha256"), t.layout("blobs"), t.layout(), t.s.Dir("blobs", "sha256"),
	} {
		if err := disk.SyncDir(path); err != nil {
			return Layout{}, err
		}
	}
	if ctx.Err() != nil {
		return Layout{}, context.Cause(ctx)
	}
	l.Output = t.output
	return l, t.s.swap(t.layout(), t.output)
}

func (t *Staging) isDone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

func (t *Staging) writeFiles(top oci.Descriptor, annotations map[string]string) error {
	data, err := oci.IndexJSON(top, annotations)
	if err != nil {
		return err
	}
	if err := disk.WriteNew(t.layout("oci-layout"), []byte(ociLayout), 0o644); err != nil {
		return err
	}
	return disk.WriteNew(t.layout("index.json"), data, 0o644)
}

// check reads the staged layout as any other, its blobs as already hashed.
func (t *Staging) check(ctx context.Context) (Layout, error) {
	folder, err := disk.OpenDir(t.layout())
	if err != nil {
		return Layout{}, err
	}
	r, err := openReader(folder, t.s.stats)
	if err != nil {
		return Layout{}, err
	}
	defer r.close()
	c, err := r.whole(ctx, t.s.stats, true)
	if err != nil {
		return Layout{}, err
	}
	blobs, err := r.reachable(c)
	if err != nil {
		return Layout{}, err
	}
	return c.Layout, t.drop(blobs)
}

// drop removes blobs that were staged but are not of the layout.
func (t *Staging) drop(wanted []oci.Descriptor) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	stray := map[oci.Digest]bool{}
	for d := range t.sizes {
		stray[d] = true
	}
	for _, d := range wanted {
		delete(stray, d.Digest)
	}
	for d := range stray {
		if err := t.s.unlink(d, t.blob(d), false); err != nil {
			return err
		}
		delete(t.sizes, d)
	}
	return nil
}
