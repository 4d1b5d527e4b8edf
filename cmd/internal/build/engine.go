package build

import (
	"context"
	"fmt"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
)

// engine is a connection to where builds run, and what is known of it. It is
// replaced as a whole when it is lost.
type engine struct {
	*buildkit.Builder
	version string // of BuildKit
	probe   string // digest of the probe image
}

// recordedProbe is what bytes the engine makes, as far as the records of this
// very sx tell; "" where only another sx built here, so that the engine must be
// asked.
func (r *run) recordedProbe() string {
	foreign := false
	for _, ref := range r.Graph.Order(r.targets) {
		rec, err := r.Store.Record(ref.String())
		if err != nil || rec.Origin != cache.BuiltHere {
			continue
		}
		if rec.Engine.SX == r.opts.Version && rec.Engine.Kind == r.opts.Engine.Kind() {
			return rec.Engine.Probe
		}
		foreign = true
	}
	if foreign {
		return ""
	}
	return buildkit.ProbeDigest
}

// open connects to the engine and probes it.
func (r *run) open(ctx context.Context) (err error) {
	b, err := buildkit.Open(ctx, r.opts.Engine, buildkit.Options{Store: r.Store, Scratch: r.Store.Dir("tmp"), Log: r.log})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	version, err := b.Version(ctx)
	if err != nil {
		return err
	}
	into, err := r.Store.Stage("sx-probe")
	if err != nil {
		return err
	}
	defer into.Close()
	probe, err := b.Probe(ctx, into)
	if err != nil {
		return err
	}
	if probe.String() != buildkit.ProbeDigest {
		r.opts.Status.Warn(fmt.Sprintf("this engine makes other bytes than StageX's: its probe image is %s, want %s; no digest will be judged", probe, buildkit.ProbeDigest))
	}
	r.engine = &engine{Builder: b, version: version, probe: probe.String()}
	return nil
}

// connected is the engine of this moment.
func (r *run) connected() *engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.engine
}
