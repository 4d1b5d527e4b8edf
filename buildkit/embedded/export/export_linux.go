package export

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/moby/buildkit/cache"
	cacheconfig "github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/exporter/util/epoch"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/util/compression"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// New wraps BuildKit's OCI exporter. All exporters of an engine share layers.
func New(oci exporter.Exporter, layers *Layers) exporter.Exporter {
	return &once{oci, layers}
}

type once struct {
	exporter.Exporter
	layers *Layers
}

// Resolve implements exporter.Exporter. Only exports as sx asks for them are
// wrapped: with rewritten timestamps, compressed by gzip at its default level.
func (o *once) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	instance, err := o.Exporter.Resolve(ctx, id, attrs)
	if err != nil {
		return nil, err
	}
	opts := containerimage.ImageCommitOpts{RefCfg: cacheconfig.RefConfig{Compression: compression.New(compression.Default)}}
	rest, err := opts.Load(ctx, attrs)
	if err != nil {
		return nil, err
	}
	comp := opts.RefCfg.Compression
	if !opts.RewriteTimestamp || comp.Type != compression.Gzip || comp.Level != nil || opts.RefCfg.PreferNonDistributable {
		return instance, nil
	}
	delete(rest, "tar") // BuildKit takes the rest for metadata of the image
	return &onceInstance{instance, o.layers, opts.Epoch, rest}, nil
}

type onceInstance struct {
	exporter.ExporterInstance
	layers *Layers
	epoch  *epoch.Epoch // of the request; nil: the frontend's
	meta   map[string]string
}

// Export implements exporter.ExporterInstance.
func (o *onceInstance) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	return o.ExporterInstance.Export(ctx, o.wrap(src), info)
}

// wrap replaces the references of src. One of which it cannot tell what BuildKit
// would rewrite stays what it is.
func (o *onceInstance) wrap(src *exporter.Source) *exporter.Source {
	src = src.Clone()
	meta := &exporter.Source{Metadata: maps.Clone(src.Metadata)}
	if meta.Metadata == nil {
		meta.Metadata = map[string][]byte{}
	}
	for k, v := range o.meta {
		meta.Metadata[k] = []byte(v)
	}
	platforms, err := exptypes.ParsePlatforms(meta.Metadata)
	if err != nil {
		return src // for which BuildKit has the error
	}
	for _, p := range platforms.Platforms {
		ref, ok := src.FindRef(p.ID)
		if !ok || ref == nil { // scratch
			continue
		}
		at, base, ok := o.request(meta, &p)
		if !ok {
			continue
		}
		w := &onceRef{ImmutableRef: ref, layers: o.layers, made: &made{}, epoch: at, base: base}
		if _, ok := src.Refs[p.ID]; ok {
			src.Refs[p.ID] = w
		} else {
			src.Ref = w
		}
	}
	return src
}

// request reads, as BuildKit does, to which time an image's layers are to be
// rewritten, and how many layers its base has at most. It is not ok if there is
// nothing to rewrite.
func (o *onceInstance) request(meta *exporter.Source, p *exptypes.Platform) (at time.Time, base int, ok bool) {
	var tm *time.Time
	var err error
	if o.epoch != nil {
		tm = o.epoch.Value
	} else if tm, err = epoch.ParseSource(meta, nil); err == nil && tm == nil {
		tm, err = epoch.ParseSource(meta, p)
	}
	if err != nil || tm == nil {
		return at, 0, false
	}
	if config := exptypes.ParseKey(meta.Metadata, exptypes.ExporterImageBaseConfigKey, p); len(config) > 0 {
		var image ocispecs.Image
		if json.Unmarshal(config, &image) != nil {
			return at, 0, false
		}
		base = len(image.RootFS.DiffIDs)
	}
	return *tm, base, true
}

// onceRef is a reference whose layers come finished.
type onceRef struct {
	cache.ImmutableRef
	layers *Layers
	epoch  time.Time
	base   int // layers below that may be the base image's
	made   *made
}

// made is what an export has of a reference so far.
type made struct {
	mu     sync.Mutex
	remote *solver.Remote
}

// Clone implements cache.ImmutableRef.
func (r *onceRef) Clone() cache.ImmutableRef {
	c := *r
	c.ImmutableRef = r.ImmutableRef.Clone()
	return &c
}

// GetRemotes implements cache.ImmutableRef. The first call that may makes what is
// missing; later ones return the same.
func (r *onceRef) GetRemotes(ctx context.Context, create bool, cfg cacheconfig.RefConfig, all bool, s session.Group) ([]*solver.Remote, error) {
	r.made.mu.Lock()
	defer r.made.mu.Unlock()
	if r.made.remote == nil && create && !all {
		remote, err := r.layers.remote(ctx, r, cfg, s)
		if err != nil {
			return nil, err
		}
		r.made.remote = remote
	}
	if r.made.remote == nil {
		return r.ImmutableRef.GetRemotes(ctx, create, cfg, all, s)
	}
	remote := *r.made.remote
	remote.Descriptors = slices.Clone(remote.Descriptors) // which BuildKit changes in place
	return []*solver.Remote{&remote}, nil
}
