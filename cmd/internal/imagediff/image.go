package imagediff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/layer"
)

// Blobs are where an image's bytes come from. Open is called again for a layer whose
// contents differ, and for two layers at once.
type Blobs = layer.Blobs

// An Image is one side of a comparison.
type Image struct {
	Name  string         // for messages: an output, a path, a reference
	Root  oci.Descriptor // an image index or an image manifest
	Blobs Blobs
}

// An ImageError says that an image cannot be read: it is damaged, or none.
type ImageError struct {
	Name string
	Err  error
}

func (e *ImageError) Error() string { return fmt.Sprintf("reading %s: %s", e.Name, e.Err) }
func (e *ImageError) Unwrap() error { return e.Err }

// A PlaceError is of this machine, or of the registry that blobs come from: the image is not to blame. Blobs may return it.
type PlaceError struct{ Err error }

func (e *PlaceError) Error() string { return e.Err.Error() }
func (e *PlaceError) Unwrap() error { return e.Err }

// failed blames the image for err, if it is to blame.
func (i Image) failed(ctx context.Context, err error) error {
	var place *PlaceError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &place):
		return fmt.Errorf("comparing images: %w", place.Err)
	}
	return &ImageError{i.Name, err}
}

// A document is a verified JSON blob.
type document struct {
	oci.Descriptor
	data []byte
	tree any // decoded, with json.Number
}

// read returns a document of the image.
func (i Image) read(ctx context.Context, d oci.Descriptor) (doc document, err error) {
	if d.Size > oci.MaxDocument {
		return doc, fmt.Errorf("%s has %d bytes, above the limit of %d", d.Digest, d.Size, oci.MaxDocument)
	}
	r, err := i.Blobs.Open(ctx, d)
	if err != nil {
		return doc, err
	}
	defer r.Close()
	data, err := io.ReadAll(layer.Verified(r, d))
	if err != nil {
		return doc, err
	}
	if err := oci.CheckBounds(data); err != nil {
		return doc, fmt.Errorf("%s: %w", d.Digest, err)
	}
	doc = document{Descriptor: d, data: data}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&doc.tree); err != nil {
		return doc, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return doc, nil
}

// A variant is an image for one platform.
type variant struct {
	platform oci.Platform
	manifest document
	config   document
	layers   []oci.Descriptor
}

// A loaded image is one whose documents were read.
type loaded struct {
	Image
	index    *document // nil if the root is a manifest
	variants []variant // in the order of the index
}

// load reads the documents of an image, for one platform or, with "", for all.
func (i Image) load(ctx context.Context, only oci.Platform) (loaded, error) {
	l, err := i.loadRoot(ctx, only)
	if err == nil && len(l.variants) == 0 {
		err = errors.New("there is no image in it")
		if only != "" {
			err = fmt.Errorf("there is no image for %s in it", only)
		}
	}
	return l, i.failed(ctx, err)
}

func (i Image) loadRoot(ctx context.Context, only oci.Platform) (loaded, error) {
	l := loaded{Image: i}
	if !oci.IsIndex(i.Root.MediaType) {
		v, err := i.variant(ctx, i.Root, "")
		if err == nil && (only == "" || oci.SamePlatform(only, v.platform)) {
			l.variants = []variant{v}
		}
		return l, err
	}
	doc, err := i.read(ctx, i.Root)
	if err != nil {
		return l, err
	}
	l.index = &doc
	index, err := oci.ReadIndex(doc.data, i.Root.MediaType)
	if err != nil {
		return l, err
	}
	for _, d := range index.Manifests {
		platform := ""
		if d.Platform != nil {
			if platform, err = d.Platform.Text(); err != nil {
				return l, err
			}
		}
		if platform == oci.UnknownPlatform || only != "" && platform != "" && !oci.SamePlatform(only, platform) {
			continue // an attestation, or another platform's
		}
		v, err := i.variant(ctx, d.Descriptor, platform)
		if err != nil {
			return l, err
		}
		if only == "" || oci.SamePlatform(only, v.platform) {
			l.variants = append(l.variants, v)
		}
	}
	return l, nil
}

// variant reads a manifest and its config, which says the platform if nothing else does.
func (i Image) variant(ctx context.Context, d oci.Descriptor, platform oci.Platform) (v variant, err error) {
	if v.manifest, err = i.read(ctx, d); err != nil {
		return v, err
	}
	m, err := oci.ParseManifest(v.manifest.data, d.MediaType)
	if err != nil {
		return v, err
	}
	if v.config, err = i.read(ctx, m.Config); err != nil {
		return v, fmt.Errorf("its config: %w", err)
	}
	v.layers, v.platform = m.Layers, platform
	if platform == "" {
		v.platform, _, err = oci.ParseConfig(v.config.data)
	}
	return v, err
}

// of returns the variant for a platform.
func (l loaded) of(p oci.Platform) (variant, bool) {
	for _, v := range l.variants {
		if oci.SamePlatform(v.platform, p) {
			return v, true
		}
	}
	return variant{}, false
}
