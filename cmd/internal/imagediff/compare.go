package imagediff

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/cache/oci"
)

// Options of a comparison. The zero value is ready.
type Options struct {
	Platform oci.Platform // to compare alone; "" for all of both images
	TempDir  string       // for what does not fit into memory; "" for [TempDir]

	// Extract is called with both contents of each of Paths that differs.
	Paths   []string
	Extract func(ctx context.Context, path string, a, b io.Reader) error
}

// Compare calls each for every difference of two images: by platform, the documents first, then the layers from the
// lowest, in each the files by name. An image that cannot be read is an *ImageError; then what each was told is not all.
// Contents are compared only of layers that were verified.
func Compare(ctx context.Context, a, b Image, o Options, each func(Difference) error) (Summary, error) {
	if o.TempDir == "" {
		o.TempDir = TempDir()
	}
	c := &comparison{ctx: ctx, o: o, each: each, sum: Summary{Equal: true, ByWhat: map[What]int64{}, ByCause: map[string]int{}}}
	if a.Root.Digest == b.Root.Digest {
		return c.sum, nil
	}
	x, err := a.load(ctx, o.Platform)
	if err != nil {
		return c.sum, err
	}
	y, err := b.load(ctx, o.Platform)
	if err != nil {
		return c.sum, err
	}
	return c.sum, c.images(x, y)
}

// A comparison is Compare at work.
type comparison struct {
	ctx  context.Context
	o    Options
	each func(Difference) error
	sum  Summary
}

func (c *comparison) tell(d Difference) error {
	c.sum.add(d)
	return c.each(d)
}

func (c *comparison) images(a, b loaded) error {
	if a.index != nil && b.index != nil && c.o.Platform == "" {
		if err := c.documents("", Index, *a.index, *b.index, func(path string) bool {
			return strings.HasPrefix(path, ".manifests[") && !strings.Contains(path, "].annotations")
		}); err != nil {
			return err
		}
	}
	for _, v := range a.variants {
		w, ok := b.of(v.platform)
		if !ok {
			if err := c.tell(Difference{Platform: v.platform, What: Platforms, A: v.manifest.Digest.String()}); err != nil {
				return err
			}
			continue
		}
		if err := c.variants(a.Image, b.Image, v, w); err != nil {
			return err
		}
	}
	for _, w := range b.variants {
		if _, ok := a.of(w.platform); !ok {
			if err := c.tell(Difference{Platform: w.platform, What: Platforms, B: w.manifest.Digest.String()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// documents tells how two JSON documents differ. what returns a path's respect.
func (c *comparison) documents(p oci.Platform, what What, a, b document, skip func(string) bool) (err error) {
	compareTrees("", a.tree, b.tree, skip, func(path, x, y string) {
		if err == nil {
			err = c.tell(Difference{Platform: p, What: respect(what, path), Path: path, A: x, B: y, Cause: causeOf(x, y)})
		}
	})
	return err
}

// respect is more exact than the document that a path is in.
func respect(in What, path string) What {
	switch {
	case in == Config && strings.HasPrefix(path, ".history"):
		return History
	case in == Manifest && strings.Contains(path, ".annotations"):
		return Annotation
	}
	return in
}

// variants compares the images of one platform.
func (c *comparison) variants(a, b Image, v, w variant) error {
	if v.manifest.Digest == w.manifest.Digest {
		return nil
	}
	before := c.sum.Differences
	pairs := pairLayers(v.layers, w.layers)
	if err := c.documents(v.platform, Manifest, v.manifest, w.manifest, consequences(pairs)); err != nil {
		return err
	}
	sameLayers := true
	for _, p := range pairs {
		sameLayers = sameLayers && p.same()
	}
	if v.config.Digest != w.config.Digest {
		if err := c.configs(v, w, sameLayers); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		if p.same() {
			continue
		}
		l := &layerPair{comparison: c, platform: v.platform, images: [2]Image{a, b}, pair: p}
		if err := l.compare(); err != nil {
			return err
		}
	}
	if c.sum.Differences == before { // what differs is what no reader of JSON sees
		return c.tell(Difference{Platform: v.platform, What: Manifest, A: v.manifest.Digest.String(), B: w.manifest.Digest.String(),
			Cause: "the documents are written differently"})
	}
	return nil
}

// consequences are fields of a manifest that differ because something else does, which is told by itself.
func consequences(pairs []pairing) func(path string) bool {
	same := map[int]bool{}
	for _, p := range pairs {
		if p.a != nil && p.b != nil && p.ia == p.ib {
			same[p.ia] = true
		}
	}
	return func(path string) bool {
		if path == ".config.digest" || path == ".config.size" {
			return true
		}
		var i int
		var rest string
		if n, _ := fmt.Sscanf(path, ".layers[%d]%s", &i, &rest); n >= 1 {
			return !same[i] || rest == ".digest" || rest == ".size"
		}
		return false
	}
}

// configs compares image configs. Their list of layers is a consequence, unless the layers are the same.
func (c *comparison) configs(v, w variant, sameLayers bool) error {
	before := c.sum.Differences
	err := c.documents(v.platform, Config, v.config, w.config, func(path string) bool {
		return !sameLayers && strings.HasPrefix(path, ".rootfs.diff_ids")
	})
	if err == nil && sameLayers && c.sum.Differences == before {
		err = c.tell(Difference{Platform: v.platform, What: Config, A: v.config.Digest.String(), B: w.config.Digest.String(),
			Cause: "the JSON is written differently"})
	}
	return err
}

// A pairing is a layer of each image, or of one alone.
type pairing struct {
	a, b   *oci.Descriptor
	ia, ib int // from 0
}

func (p pairing) same() bool { return p.a != nil && p.b != nil && p.a.Digest == p.b.Digest }

// number is for people, from 1.
func (p pairing) number() int {
	if p.a == nil {
		return p.ib + 1
	}
	return p.ia + 1
}

// pairLayers joins layers: equal ones from the bottom and from the top, and what is between them in order.
func pairLayers(a, b []oci.Descriptor) (pairs []pairing) {
	head := 0
	for head < min(len(a), len(b)) && a[head].Digest == b[head].Digest {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail].Digest == b[len(b)-1-tail].Digest {
		tail++
	}
	add := func(i, j int) {
		p := pairing{ia: i, ib: j}
		if i >= 0 {
			p.a = &a[i]
		}
		if j >= 0 {
			p.b = &b[j]
		}
		pairs = append(pairs, p)
	}
	for i := range head {
		add(i, i)
	}
	for i := head; i < max(len(a), len(b))-tail; i++ {
		x, y := i, i
		if i >= len(a)-tail {
			x = -1
		}
		if i >= len(b)-tail {
			y = -1
		}
		add(x, y)
	}
	for i := tail; i > 0; i-- {
		add(len(a)-i, len(b)-i)
	}
	return pairs
}

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
			l.read[i], err = walk(ctx, l.images[i].Blobs, *d, l.o.TempDir)
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
			bySeq := map[int64]*look{}
			for _, k := range looks {
				bySeq[k.seqs[i]] = k
			}
			f, err := spill(ctx, l.images[i].Blobs, *d, l.o.TempDir, bySeq, i)
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
