package imagediff

import (
	"context"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache/oci"
)

// A layerPair compares two layers.
type layerPair struct {
	*comparison
	platform oci.Platform
	images   [2]Image
	pair     pairing
	read     [2]*walked
}

func (l *layerPair) tell(d Difference) error {
	d.Platform, d.Layer = l.platform, l.pair.number()
	return l.comparison.tell(d)
}

func (l *layerPair) compare() error {
	if l.pair.a == nil || l.pair.b == nil {
		return l.tell(Difference{What: Layer, A: layerWord(l.pair.a), B: layerWord(l.pair.b)})
	}
	defer func() {
		for _, w := range l.read {
			if w != nil {
				w.close()
			}
		}
	}()
	if err := l.walk(); err != nil {
		return err
	}
	a, b := l.read[0], l.read[1]
	if a.tar == b.tar {
		return l.tell(l.compression())
	}
	if a.packing != b.packing {
		if err := l.tell(l.compression()); err != nil {
			return err
		}
	}
	packed := l.sum.Differences
	if err := l.entries(); err != nil {
		return err
	}
	if l.sum.Differences == packed {
		return l.tell(Difference{What: Archive, A: fmt.Sprintf("%d bytes", a.size), B: fmt.Sprintf("%d bytes", b.size),
			Cause: "the program that wrote the tar"})
	}
	return nil
}

func layerWord(d *oci.Descriptor) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%s, %d bytes", d.Digest, d.Size)
}

// walk reads both layers at once.
func (l *layerPair) walk() error {
	g, ctx := errgroup.WithContext(l.ctx)
	for i, d := range []*oci.Descriptor{l.pair.a, l.pair.b} {
		g.Go(func() (err error) {
			l.read[i], err = walk(ctx, l.reading(i, l.images[i].Blobs), *d, l.o.TempDir)
			return l.layerError(ctx, i, *d, err)
		})
	}
	return g.Wait()
}

func (l *layerPair) layerError(ctx context.Context, side int, d oci.Descriptor, err error) error {
	if err == nil {
		return nil
	}
	return l.images[side].failed(ctx, fmt.Errorf("layer %s: %w", d.Digest, err))
}

func (l *layerPair) compression() Difference {
	a, b := l.read[0].packing, l.read[1].packing
	d := Difference{What: Compression, A: a.words(l.pair.a.Size), B: b.words(l.pair.b.Size), Cause: causeCompressor}
	if a.kind == "gzip" && b.kind == "gzip" && a.header != b.header && causeOf(a.header, b.header) == causeTimestamp {
		d.Cause = causeTimestamp
	}
	return d
}

func (p packing) words(size int64) string {
	s := fmt.Sprintf("%s, %d bytes", p.kind, size)
	if p.header != "" {
		s += ", " + p.header
	}
	return s
}

// entries compares the entries of both layers, by name.
func (l *layerPair) entries() error {
	j, err := newJoin(l)
	if err != nil {
		return fmt.Errorf("comparing images: %w", err)
	}
	defer j.close()
	if err := j.run(); err != nil {
		return fmt.Errorf("comparing images: %w", err)
	}
	if err := l.contents(j.looks); err != nil {
		return err
	}
	if j.reordered {
		if err := j.tellOrder(); err != nil {
			return err
		}
	}
	return j.replay()
}

// contents fills in how the contents of looks differ.
func (l *layerPair) contents(looks []*look) error {
	if len(looks) == 0 {
		return nil
	}
	var files [2]io.ReaderAt
	g, ctx := errgroup.WithContext(l.ctx)
	for i, d := range []*oci.Descriptor{l.pair.a, l.pair.b} {
		g.Go(func() error {
			of := sideLooks{map[int64]*look{}, i}
			for _, k := range looks {
				of.bySeq[k.seqs[i]] = k
			}
			f, err := of.spill(ctx, l.reading(i, l.images[i].Blobs), *d, l.o.TempDir)
			if err == nil {
				files[i] = f
			}
			return l.layerError(ctx, i, *d, err)
		})
	}
	err := g.Wait()
	for _, f := range files {
		if f, ok := f.(io.Closer); ok {
			defer f.Close()
		}
	}
	if err != nil {
		return err
	}
	for _, k := range looks {
		if err := l.look(k, files); err != nil {
			return err
		}
	}
	return nil
}

func (l *layerPair) look(k *look, files [2]io.ReaderAt) (err error) {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	if k.at[0] < 0 || k.at[1] < 0 {
		return nil
	}
	section := func(i int) *io.SectionReader { return io.NewSectionReader(files[i], k.at[i], k.sizes[i]) }
	p := pair{path: k.path, a: section(0), b: section(1)}
	if k.detail, k.cause, err = p.look(); err != nil {
		return fmt.Errorf("comparing %q: %w", k.path, err)
	}
	if l.o.Extract != nil && slices.Contains(l.o.Paths, k.path) {
		return l.o.Extract(l.ctx, k.path, section(0), section(1))
	}
	return nil
}
