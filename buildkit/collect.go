package buildkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// rewritten is the annotation of a layer whose timestamps BuildKit rewrote (moby/buildkit:
// util/converter). If rewriting fails, BuildKit only warns and exports a layer that cannot
// be reproduced.
const rewritten = "buildkit/rewritten-timestamp"

// maxDocument is the maximum size of manifests and configs, the same as for registries.
const maxDocument = 4 << 20

// UnrewrittenError means that a layer has the timestamps of this build.
type UnrewrittenError struct{ Layer digest.Digest }

func (e *UnrewrittenError) Error() string {
	return fmt.Sprintf("the engine did not rewrite the timestamps of layer %s, so this build cannot be reproduced; the engine's own log says why (sx engine logs)", e.Layer)
}

// results are where the blobs of a build's result come from.
type results interface {
	// read reads a document, whose digest and size are checked, and decodes it.
	read(desc ocispecs.Descriptor, into any) error
	// take takes a layer.
	take(desc ocispecs.Descriptor) error
	// checkSent returns an error if a layer that was not rewritten is damaged.
	checkSent(d digest.Digest) error
}

// collector moves blobs from the sink into a staging folder.
type collector struct {
	sink *sink
	into *cache.Staging
}

// take moves a blob. The error is a *oci.DamagedError if the blob's bytes do not match
// its digest and size.
func (c *collector) take(desc ocispecs.Descriptor) error {
	d, err := oci.ParseDigest(desc.Digest.String())
	if err != nil {
		return err
	}
	err = c.into.LinkBlob(d, desc.Size, c.sink.path(desc.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the engine did not send the blob %s, which its result contains", d)
	}
	var damaged *oci.DamagedError
	if errors.As(err, &damaged) {
		os.Remove(c.sink.path(desc.Digest)) // so that the next export does not reuse it
	}
	return err
}

// checkSent returns a *oci.DamagedError if the engine's copy of a blob does not match
// its digest, even if out/ has an undamaged one.
func (c *collector) checkSent(d digest.Digest) error {
	f, err := os.Open(c.sink.path(d))
	if err != nil {
		return err
	}
	defer f.Close()
	got, err := digest.FromReader(f)
	if err != nil || got == d {
		return err
	}
	os.Remove(f.Name())
	return damagedBlobError(d, got)
}

func damagedBlobError(want, got digest.Digest) error {
	d, err := oci.ParseDigest(want.String())
	return errors.Join(err, &oci.DamagedError{Digest: d, Err: fmt.Errorf("reading blob %s: its digest is %s", want, got)})
}

// read moves a document and decodes it.
func (c *collector) read(desc ocispecs.Descriptor, into any) error {
	if err := c.take(desc); err != nil {
		return err
	}
	err := decode(c.sink.path(desc.Digest), desc.Digest, into)
	if errors.As(err, new(*oci.DamagedError)) { // take used an undamaged one of out/
		os.Remove(c.sink.path(desc.Digest))
	}
	return err
}

// decode checks the digest of a JSON document and decodes it. The error is a
// *oci.DamagedError if the digest does not match.
func decode(path string, want digest.Digest, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err != nil {
		return err
	}
	if got := digest.FromBytes(data); got != want {
		return damagedBlobError(want, got)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading blob %s: %w", want, err)
	}
	return nil
}

// checkAnswer returns an error unless the result has exactly one image for each requested
// platform, and nothing else: no further images and no attestations, which would not be
// compared with the published digests.
func checkAnswer(got []ocispecs.Descriptor, want []string) error {
	have := make([]string, len(got))
	for i, m := range got {
		have[i] = "no platform"
		if m.Platform != nil {
			have[i] = platforms.Format(platforms.Normalize(*m.Platform))
		}
	}
	asked := make([]string, len(want))
	for i, w := range want {
		p, err := platforms.Parse(w)
		if err != nil {
			return fmt.Errorf("reading the platform %q: %w", w, err)
		}
		asked[i] = platforms.Format(platforms.Normalize(p))
	}
	slices.Sort(have)
	slices.Sort(asked)
	if !slices.Equal(have, asked) {
		return fmt.Errorf("the engine answered with images for %s, not for %s", strings.Join(have, ", "), strings.Join(asked, ", "))
	}
	return nil
}

// takeIndex takes an image index, which must have the images for platforms, and its blobs.
func takeIndex(from results, desc ocispecs.Descriptor, platforms []string, base map[digest.Digest]struct{}) error {
	var idx ocispecs.Index
	if err := from.read(desc, &idx); err != nil {
		return err
	}
	if err := checkAnswer(idx.Manifests, platforms); err != nil {
		return err
	}
	for _, m := range idx.Manifests {
		if err := takeManifest(from, m, base); err != nil {
			return err
		}
	}
	return nil
}

// takeManifest takes an image manifest and its blobs. Layers that are not in base must
// have the annotation of rewritten timestamps. The engine may have failed to rewrite one
// because it is damaged.
func takeManifest(from results, desc ocispecs.Descriptor, base map[digest.Digest]struct{}) error {
	if desc.MediaType != ocispecs.MediaTypeImageManifest {
		return fmt.Errorf("the engine answered with a %q instead of an image manifest", desc.MediaType)
	}
	var m ocispecs.Manifest
	if err := from.read(desc, &m); err != nil {
		return err
	}
	var cfg ocispecs.Image
	if err := from.read(m.Config, &cfg); err != nil {
		return err
	}
	if len(cfg.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("manifest %s has %d layers, its config %d", desc.Digest, len(m.Layers), len(cfg.RootFS.DiffIDs))
	}
	var err error
	disk.InOrder(len(m.Layers), func(i int) error {
		l := m.Layers[i]
		if _, ok := base[cfg.RootFS.DiffIDs[i]]; !ok && l.Annotations[rewritten] == "" {
			return errors.Join(from.checkSent(l.Digest), &UnrewrittenError{l.Digest})
		}
		if slices.ContainsFunc(m.Layers[:i], func(before ocispecs.Descriptor) bool { return before.Digest == l.Digest }) {
			return nil // Commit compares their sizes
		}
		return from.take(l)
	}, func(_ int, failed error) bool {
		err = failed
		return failed == nil
	})
	return err
}

// contents has the blobs of the dependencies and of images of other registries, and the
// uncompressed digests of all their layers: the layers of a FROM are not rewritten again.
type contents struct {
	blobs  []oci.Digest
	layers map[digest.Digest]struct{}
}

func contentsOf(store *cache.Store, deps map[string]cache.Layout, images map[string]cache.Pulled) (contents, error) {
	c := contents{layers: map[digest.Digest]struct{}{}}
	for name, l := range deps {
		if !l.OneLevel {
			c.blobs = append(c.blobs, l.Index)
		}
		for _, m := range slices.Concat(l.Manifests, l.Attestations) {
			if err := c.add(store, m.Digest); err != nil {
				return c, fmt.Errorf("reading out/%s: %w", name, err)
			}
		}
	}
	for name, image := range images {
		c.blobs = append(c.blobs, image.Root)
		for _, m := range image.Images {
			if err := c.add(store, m.Manifest.Digest); err != nil {
				return c, fmt.Errorf("reading the image %s: %w", name, err)
			}
		}
	}
	return c, nil
}

// add adds the blobs of an image, by its manifest.
func (c *contents) add(store *cache.Store, d oci.Digest) error {
	var m ocispecs.Manifest
	if err := decodeBlob(store, d, &m); err != nil {
		return err
	}
	c.blobs = append(c.blobs, d)
	for _, desc := range append([]ocispecs.Descriptor{m.Config}, m.Layers...) {
		d, err := oci.ParseDigest(desc.Digest.String())
		if err != nil {
			return err
		}
		c.blobs = append(c.blobs, d)
	}
	var cfg ocispecs.Image
	if err := decodeBlob(store, c.blobs[len(c.blobs)-1-len(m.Layers)], &cfg); err != nil {
		return err
	}
	for _, id := range cfg.RootFS.DiffIDs {
		c.layers[id] = struct{}{}
	}
	return nil
}

func decodeBlob(store *cache.Store, d oci.Digest, into any) error {
	path, err := store.BlobPath(d)
	if err != nil {
		return err
	}
	return decode(path, digest.Digest(d.String()), into)
}
