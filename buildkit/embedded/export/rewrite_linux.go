package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/bklog"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/converter"
	"github.com/moby/buildkit/util/leaseutil"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// job is to finish the layer chain[at].
type job struct {
	chain       cache.RefList
	at          int
	blob        *ocispecs.Descriptor // stored already, or nil
	epoch       time.Time
	compression compression.Config
	session     session.Group
}

func (j job) ref() cache.ImmutableRef { return j.chain[j.at] }

// record is what a reference remembers of its finished layer. It is as old as the
// reference: BuildKit removes both together.
type record struct {
	By    string // Layers.Compressor
	Layer ocispecs.Descriptor
}

// recordPrefix begins the names of records: one for each time.
const recordPrefix = "sx.rewritten."

func (j job) key() string { return recordPrefix + strconv.FormatInt(j.epoch.Unix(), 10) }

// layer returns the finished layer, which the lease of its reference keeps. Exports
// that want the same layer at once make it once.
func (l *Layers) layer(ctx context.Context, j job) (*ocispecs.Descriptor, error) {
	return l.flights.Do(ctx, j.ref().ID()+" "+j.key(), func(ctx context.Context) (*ocispecs.Descriptor, error) {
		if desc := l.remembered(ctx, j); desc != nil {
			return desc, nil
		}
		return l.make(ctx, j)
	})
}

// remembered returns the layer that an earlier export made, unless it is damaged:
// sx shares it with out/ by hard link, where anything may write to it.
func (l *Layers) remembered(ctx context.Context, j job) *ocispecs.Descriptor {
	var r record
	if json.Unmarshal([]byte(j.ref().GetString(j.key())), &r) != nil || r.By != l.Compressor {
		return nil
	}
	if _, err := l.Content.Info(ctx, r.Layer.Digest); err != nil {
		return nil
	}
	if err := l.check(ctx, r.Layer); err != nil {
		if ctx.Err() == nil {
			bklog.G(ctx).Warnf("making layer %s again: %v", r.Layer.Digest, err)
			l.Content.Delete(ctx, r.Layer.Digest)
			l.Forget(r.Layer.Digest)
		}
		return nil
	}
	return &r.Layer
}

// check reads all of a blob, which Content hashes.
func (l *Layers) check(ctx context.Context, desc ocispecs.Descriptor) error {
	ra, err := l.Content.ReaderAt(ctx, desc)
	if err != nil {
		return err
	}
	defer ra.Close()
	if ra.Size() != desc.Size {
		return fmt.Errorf("it has %d bytes, not %d", ra.Size(), desc.Size)
	}
	buf := make([]byte, 256<<10)
	for at := int64(0); at < desc.Size && err == nil; at += int64(len(buf)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(int64(len(buf)), desc.Size-at)
		if _, err = ra.ReadAt(buf[:n], at); err == io.EOF {
			err = nil
		}
	}
	return err
}

// make makes the layer. What a failed one leaves is removed.
func (l *Layers) make(ctx context.Context, j job) (*ocispecs.Descriptor, error) {
	lease, ctx, err := leaseutil.NewLease(ctx, l.Leases, leaseutil.MakeTemporary)
	if err != nil {
		return nil, err
	}
	defer lease.Discard(ctx)
	var desc *ocispecs.Descriptor
	if j.blob != nil {
		desc, err = l.convert(ctx, l.Content, *j.blob, j)
	} else {
		desc, err = l.stream(ctx, j)
	}
	if err != nil || j.blob != nil && desc.Digest == j.blob.Digest {
		return desc, err
	}
	return desc, l.remember(ctx, j, *desc)
}

// remember binds the layer to the life of its reference.
func (l *Layers) remember(ctx context.Context, j job, desc ocispecs.Descriptor) error {
	ref := j.ref()
	if err := l.Leases.AddResource(ctx, leases.Lease{ID: ref.ID()}, leases.Resource{ID: desc.Digest.String(), Type: resourceOfBlob}); err != nil {
		return err
	}
	value, err := json.Marshal(record{l.Compressor, desc})
	if err != nil {
		return err
	}
	if err := ref.SetString(j.key(), string(value), ""); err != nil {
		return err
	}
	var size int64
	if v := ref.Get(keySize); v == nil || v.Unmarshal(&size) != nil || size < 0 {
		return nil // not measured yet
	}
	return ref.ClearValueAndIndex(keySize, "") // it grew
}

// convert lets BuildKit's converter make the layer of a blob in store. It returns
// desc itself if there is nothing to do.
func (l *Layers) convert(ctx context.Context, store content.Store, desc ocispecs.Descriptor, j job) (*ocispecs.Descriptor, error) {
	w := &ingests{Store: store}
	target := j.compression
	if l.Gzip != nil {
		target.Type = gzipWith{target.Type, l.Gzip}
	}
	convert, err := converter.NewWithRewriteTimestamp(ctx, w, desc, target, &j.epoch, nil)
	if err != nil {
		return nil, err
	}
	if convert == nil {
		return &desc, nil
	}
	made, err := convert(ctx, w, desc)
	if err != nil {
		w.abort(context.WithoutCancel(ctx))
		return nil, err
	}
	return made, nil
}

// gzipWith is BuildKit's gzip, except for what compresses. Only the converter is
// given it: BuildKit compares types elsewhere.
type gzipWith struct {
	compression.Type
	newWriter func(io.Writer) io.WriteCloser
}

// Compress implements compression.Type.
func (g gzipWith) Compress(context.Context, compression.Config) (compression.Compressor, compression.Finalizer) {
	return func(dest io.Writer, _ string) (io.WriteCloser, error) { return g.newWriter(dest), nil }, nil
}

// ingests is a store that can take back what was begun in it.
type ingests struct {
	content.Store
	begun []string
}

// Writer implements content.Ingester.
func (s *ingests) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var w content.WriterOpts
	for _, o := range opts {
		if err := o(&w); err != nil {
			return nil, err
		}
	}
	s.begun = append(s.begun, w.Ref)
	return s.Store.Writer(ctx, opts...)
}

func (s *ingests) abort(ctx context.Context) {
	for _, ref := range s.begun {
		s.Abort(ctx, ref) // or the garbage collector does, once the lease is gone
	}
}
