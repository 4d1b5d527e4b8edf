package imagediff

import (
	"context"
	"fmt"
	"io"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
)

// Options of a comparison. The zero value is ready.
type Options struct {
	Platform oci.Platform // to compare alone; "" for all of both images
	TempDir  string       // for what does not fit into memory; "" for [TempDir]

	// Extract is called with both contents of each of Paths that differs.
	Paths   []string
	Extract func(ctx context.Context, path string, a, b io.Reader) error

	// Reading is called when a layer is about to be read, and again if its contents are
	// read: with what to call it, "A, layer 2", and the size of its blob. It may be called
	// by two goroutines at once. nil for no progress.
	Reading func(name string, size int64) Reading
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
