package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/client"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// same compares what both exporters made of a reference: ours first, because theirs
// stores the layers that ours would find.
func (w *worker) same(what string, ref cache.ImmutableRef) []ocispecs.Descriptor {
	w.t.Helper()
	got := w.mustOnce(ref)
	if diff := cmp.Diff(w.twice(ref), got); diff != "" {
		w.t.Errorf("%s: BuildKit's layers (-) and ours (+):\n%s", what, diff)
	}
	return got
}

// A chain of random changes gives the layers that BuildKit gives.
func TestSameLayers(t *testing.T) {
	onEach(t, func(w *worker) {
		for seed := range uint64(8) {
			c := newChanger(w.t, seed)
			ref := w.layer(nil, c.change)
			ref = w.layer(ref, c.change)
			ref = w.layer(ref, c.change)
			before := w.content.begun.Load()
			w.same(fmt.Sprintf("three layers of seed %d", seed), ref)
			if n := w.content.begun.Load() - before; n != 3+2*3 {
				t.Errorf("%d blobs were written: three layers were not compressed once by us and twice by BuildKit", n)
			}
		}
	})
}

// Layers that other exports stored, that change nothing, or are of no bytes.
func TestSameAroundStored(t *testing.T) {
	onEach(t, func(w *worker) {
		old := time.Unix(0, 0)
		stored := w.file(nil, "a", 1000)
		w.twice(stored)
		w.same("on a stored layer", w.file(stored, "b", 10))
		empty := w.layer(nil, func(string) {})
		w.same("an empty layer", empty)
		w.same("an empty layer on another", w.layer(empty, func(string) {}))
		w.same("nothing to rewrite", w.layer(stored, func(root string) {
			must(w.t, os.WriteFile(filepath.Join(root, "old"), []byte("x"), 0o644))
			must(w.t, os.Chtimes(filepath.Join(root, "old"), old, old))
			must(w.t, os.Chtimes(root, old, old))
		}))
	})
}

// Merged layers, as COPY --link makes them, and those upon them.
func TestSameMerged(t *testing.T) {
	onEach(t, func(w *worker) {
		a, b := w.file(nil, "a", 1000), w.file(w.file(nil, "b", 2000), "c", 30)
		merged, err := w.cache.Merge(w.t.Context(), []cache.ImmutableRef{a, b}, nil)
		must(w.t, err)
		w.same("merged", merged)
		twice, err := w.cache.Merge(w.t.Context(), []cache.ImmutableRef{a, b, a}, nil)
		must(w.t, err)
		w.same("a layer twice", twice)
		upon := w.layer(merged, func(root string) { must(w.t, os.Remove(filepath.Join(root, "a"))) })
		before := w.content.begun.Load()
		w.same("upon a merge", upon)
		if n := w.content.begun.Load() - before; n != 1+1+4 { // ours; the stored one, and BuildKit converts all again
			t.Errorf("%d blobs were written upon a merge", n)
		}
	})
}

// What a diff operation made is left to BuildKit, whole.
func TestSameDiff(t *testing.T) {
	onEach(t, func(w *worker) {
		lower := w.file(nil, "a", 1000)
		upper := w.layer(w.file(lower, "b", 10), func(root string) { must(w.t, os.Remove(filepath.Join(root, "a"))) })
		diff, err := w.cache.Diff(w.t.Context(), lower, upper, nil)
		must(w.t, err)
		w.same("a diff", diff)
		one, err := w.cache.Diff(w.t.Context(), lower, w.file(lower, "c", 10), nil)
		must(w.t, err)
		w.same("a diff that is a layer", one)
	})
}

// BuildKit stores what a reference was made from under the names that this package
// reads; it would take a layer for the first of an image otherwise.
func TestStoredKeys(t *testing.T) {
	onEach(t, func(w *worker) {
		a := w.file(nil, "a", 1)
		b := w.file(a, "b", 1)
		merged, err := w.cache.Merge(w.t.Context(), []cache.ImmutableRef{a, b}, nil)
		must(w.t, err)
		diff, err := w.cache.Diff(w.t.Context(), b, merged, nil)
		must(w.t, err)
		if got := b.GetString(keyParent); got != a.ID() || a.GetString(keyParent) != "" {
			t.Errorf("parents are %q and %q", got, a.GetString(keyParent))
		}
		if merged.Get(keyMerged) == nil || diff.Get(keyDiffOf) == nil || diff.Get(keyDiffFrom) == nil || b.Get(keySize) == nil {
			t.Error("a key is not stored")
		}
	})
}

// The base image's layers stay as they came, whatever their times.
func TestBaseStays(t *testing.T) {
	onEach(t, func(w *worker) {
		base := w.file(nil, "a", 1000)
		w.twice(base)
		ref := w.file(base, "b", 10)
		got, err := w.once(w.t.Context(), ref, 1)
		must(w.t, err)
		if len(got) != 2 || got[0].Annotations["buildkit/rewritten-timestamp"] != "" || got[1].Annotations["buildkit/rewritten-timestamp"] != "1" {
			t.Errorf("layers are %v", got)
		}
	})
}

// A layer is compressed once: not for a second export, nor for eight at once.
func TestOnce(t *testing.T) {
	onEach(t, func(w *worker) {
		ref := w.file(w.file(nil, "a", 100_000), "b", 50_000)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { w.mustOnce(ref) })
		}
		all.Wait()
		first := w.mustOnce(ref)
		if n := w.content.begun.Load(); n != 2 {
			t.Errorf("nine exports of two layers wrote %d blobs", n)
		}
		for _, desc := range first {
			if _, err := w.content.Info(t.Context(), desc.Digest); err != nil {
				t.Error(err)
			}
		}
	})
}

// What compresses is the one that was given, once a layer, and its layers have the
// bytes of BuildKit's: every other test compares them.
func TestGivenGzip(t *testing.T) {
	onEach(t, func(w *worker) {
		compressed, given := 0, w.layers.Gzip
		w.layers.Gzip = func(dest io.Writer) io.WriteCloser {
			compressed++
			return given(dest)
		}
		ref := w.file(nil, "a", 1000)
		w.mustOnce(ref)
		w.mustOnce(ref)
		if compressed != 1 {
			t.Errorf("it compressed %d layers", compressed)
		}
	})
}

// Another compressor's layers are not taken for this one's.
func TestAnotherCompressor(t *testing.T) {
	onEach(t, func(w *worker) {
		ref := w.file(nil, "a", 1000)
		w.mustOnce(ref)
		w.layers.Compressor = "another"
		w.mustOnce(ref)
		if n := w.content.begun.Load(); n != 2 {
			t.Errorf("two compressors wrote %d blobs", n)
		}
	})
}

// A finished layer that was damaged, cut, lengthened or lost is made again.
func TestDamaged(t *testing.T) {
	onEach(t, func(w *worker) {
		w.layers.Content = hashing{w.content}
		ref := w.file(nil, "a", 100_000)
		want := w.mustOnce(ref)[0]
		whole, err := os.ReadFile(w.path(want.Digest))
		must(t, err)
		flipped := bytes.Clone(whole)
		flipped[50_000] ^= 1
		for what, data := range map[string][]byte{"flipped": flipped, "cut": whole[:10], "empty": {}, "longer": append(bytes.Clone(whole), 0), "lost": nil} {
			must(t, os.Remove(w.path(want.Digest)))
			if data != nil {
				must(t, os.WriteFile(w.path(want.Digest), data, 0o600))
			}
			if diff := cmp.Diff(want, w.mustOnce(ref)[0]); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
			if got, err := os.ReadFile(w.path(want.Digest)); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%s: the blob is not whole again: %v", what, err)
			}
		}
	})
}

// The garbage collector keeps a finished layer for as long as its reference lives,
// and BuildKit's cache counts and removes both together.
func TestKeptWithReference(t *testing.T) {
	onEach(t, func(w *worker) {
		ctx := t.Context()
		ref := w.file(nil, "a", 1_000_000)
		d := w.mustOnce(ref)[0].Digest
		if !w.holds(ref, d) {
			t.Error("the reference's lease does not hold the layer")
		}
		_, err := w.mdb.GarbageCollect(ctx)
		must(t, err)
		w.mustOnce(ref)
		if n := w.content.begun.Load(); n != 1 {
			t.Errorf("%d blobs were written, one of them after a collection", n)
		}
		usage, err := w.cache.DiskUsage(ctx, client.DiskUsageInfo{})
		must(t, err)
		if len(usage) != 1 || usage[0].Size < 2_000_000 {
			t.Errorf("usage of 1 MB and its layer: %+v", usage)
		}
		must(t, ref.Release(ctx))
		must(t, w.cache.Prune(ctx, make(chan client.UsageInfo, 10), client.PruneInfo{All: true}))
		_, err = w.mdb.GarbageCollect(ctx)
		must(t, err)
		if _, err := os.Stat(w.path(d)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the layer outlived its reference: %v", err)
		}
	})
}

// A cancelled export leaves nothing, wherever it is cancelled, and the next one
// makes the layer.
func TestCancelled(t *testing.T) {
	onEach(t, func(w *worker) {
		ref := w.file(nil, "a", 2_000_000)
		for after := range int32(3) {
			ctx, cancel := context.WithCancel(t.Context())
			var n atomic.Int32
			w.content.during = func() {
				if n.Add(1) > 4*after {
					cancel()
				}
			}
			if _, err := w.once(ctx, ref, 0); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled after %d writes: %v", 4*after, err)
			}
			w.content.during = nil
			if left := w.leftovers(); len(left) > 0 {
				t.Errorf("cancelled after %d writes, it left %q", 4*after, left)
			}
		}
		w.same("after cancelled ones", ref)
		if left := w.leftovers(); len(left) > 0 {
			t.Errorf("it left %q", left)
		}
	})
}

// What a full disk ends says so, and not that a pipe was closed.
func TestFullDisk(t *testing.T) {
	onEach(t, func(w *worker) {
		ref := w.file(nil, "a", 2_000_000)
		w.content.fail = fmt.Errorf("writing: %w", syscall.ENOSPC)
		if _, err := w.once(t.Context(), ref, 0); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it failed with %v", err)
		}
		w.content.fail = nil
		if left := w.leftovers(); len(left) > 0 {
			t.Errorf("it left %q", left)
		}
	})
}

// A large layer takes no more memory than a small one.
func TestMemory(t *testing.T) {
	onEach(t, func(w *worker) {
		ref := w.layer(nil, func(root string) {
			for _, name := range []string{"a", "b"} {
				must(t, os.WriteFile(filepath.Join(root, name), nil, 0o644))
				must(t, os.Truncate(filepath.Join(root, name), 200<<20))
			}
		})
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var peak atomic.Uint64
		w.content.during = func() {
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapInuse))
		}
		w.mustOnce(ref)
		if grown := int64(peak.Load()) - int64(before.HeapInuse); grown > 64<<20 {
			t.Errorf("a layer of 400 MB took %d MB", grown>>20)
		}
	})
}

// Only exports as sx asks for them are wrapped.
func TestWrapped(t *testing.T) {
	for _, c := range []struct {
		attrs map[string]string
		want  bool
	}{
		{map[string]string{"rewrite-timestamp": "true", "force-compression": "true", "tar": "false"}, true},
		{map[string]string{"rewrite-timestamp": "true"}, true},
		{map[string]string{}, false},
		{map[string]string{"rewrite-timestamp": "true", "compression": "zstd"}, false},
		{map[string]string{"rewrite-timestamp": "true", "compression-level": "9"}, false},
		{map[string]string{"rewrite-timestamp": "true", "compression": "uncompressed"}, false},
	} {
		i, err := New(fakeExporter{}, nil).Resolve(t.Context(), 0, c.attrs)
		must(t, err)
		if _, got := i.(*onceInstance); got != c.want {
			t.Errorf("%v is wrapped: %t", c.attrs, got)
		}
	}
}
