package export

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/util/epoch"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

type fakeExporter struct{}

func (fakeExporter) Resolve(context.Context, int, map[string]string) (exporter.ExporterInstance, error) {
	return struct{ exporter.ExporterInstance }{}, nil
}

type fakeRef struct{ cache.ImmutableRef }

// What is rewritten, to which time and from which layer on, is read as BuildKit
// reads it.
func TestRequest(t *testing.T) {
	const platforms = `{"Platforms":[{"ID":"linux/amd64","Platform":{"os":"linux","architecture":"amd64"}},{"ID":"linux/386","Platform":{"os":"linux","architecture":"386"}}]}`
	ref := &fakeRef{}
	at := func(s int64) *epoch.Epoch { tm := time.Unix(s, 0); return &epoch.Epoch{Value: &tm} }
	for name, c := range map[string]struct {
		epoch *epoch.Epoch
		meta  map[string]string
		want  int64 // seconds, of amd64; -1: not wrapped
		base  int
	}{
		"nothing":         {nil, map[string]string{}, -1, 0},
		"the request's":   {at(5), map[string]string{"source.date.epoch": "7"}, 5, 0},
		"the frontend's":  {nil, map[string]string{"source.date.epoch": "7"}, 7, 0},
		"the platform's":  {nil, map[string]string{"source.date.epoch/linux/amd64": "9"}, 9, 0},
		"general first":   {nil, map[string]string{"source.date.epoch/linux/amd64": "9", "source.date.epoch": "7"}, 7, 0},
		"none asked for":  {&epoch.Epoch{}, map[string]string{"source.date.epoch": "7"}, -1, 0},
		"no number":       {nil, map[string]string{"source.date.epoch": "x"}, -1, 0},
		"a base":          {at(1), map[string]string{"containerimage.base.config/linux/amd64": `{"rootfs":{"diff_ids":["a","b"]}}`}, 1, 2},
		"an invalid base": {at(1), map[string]string{"containerimage.base.config/linux/amd64": `{`}, -1, 0},
	} {
		src := &exporter.Source{Metadata: map[string][]byte{"refs.platforms": []byte(platforms)}}
		for k, v := range c.meta {
			src.Metadata[k] = []byte(v)
		}
		src.AddRef("linux/amd64", ref)
		src.AddRef("linux/386", nil)
		got := (&onceInstance{epoch: c.epoch}).wrap(src)
		w, wrapped := got.Refs["linux/amd64"].(*onceRef)
		switch {
		case got.Refs["linux/386"] != nil || src.Refs["linux/amd64"] != ref:
			t.Errorf("%s: %v became %v", name, src.Refs, got.Refs)
		case wrapped != (c.want >= 0):
			t.Errorf("%s: wrapped is %t", name, wrapped)
		case wrapped && (w.epoch.Unix() != c.want || w.base != c.base):
			t.Errorf("%s: to %d from layer %d, want %d from %d", name, w.epoch.Unix(), w.base, c.want, c.base)
		}
	}
	single := &exporter.Source{Ref: ref}
	if _, ok := (&onceInstance{epoch: at(1)}).wrap(single).Ref.(*onceRef); !ok {
		t.Error("a single reference is not wrapped")
	}
}

// hashing is a store as the engine's: it gives nothing that is not what its digest says.
type hashing struct{ content.Store }

func (h hashing) ReaderAt(ctx context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	ra, err := h.Store.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	verifier := desc.Digest.Verifier()
	if _, err := io.Copy(verifier, io.NewSectionReader(ra, 0, ra.Size())); err != nil || !verifier.Verified() {
		ra.Close()
		return nil, digest.ErrDigestInvalidFormat
	}
	return ra, nil
}
