package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/inspect"
	"codeberg.org/stagex/sx/graph"
)

// inspected is the image of an output that a command looks into.
type inspected struct {
	ref      graph.Ref
	platform oci.Platform
	inspect.Image
}

// lookInside opens the image that out/ holds of the output that a selector names, and calls do.
func lookInside(ctx context.Context, a *app, selector, platform string, do func(inspected) error) error {
	v, _, err := a.open(ctx, nil, false)
	if err != nil {
		return err
	}
	defer v.Close()
	ref, err := a.oneOutput(v.Graph, selector)
	if err != nil {
		return err
	}
	stored, err := v.Store.Image(ref.String())
	if errors.Is(err, fs.ErrNotExist) {
		return absent(ref)
	}
	if err != nil {
		return fmt.Errorf("%w; sx build %s builds it again", err, ref)
	}
	defer stored.Close()
	img, err := imageFor(stored, platform)
	if err != nil {
		return err
	}
	img.ref = ref
	return do(img)
}

// absent says how to get an output that out/ does not hold.
func absent(ref graph.Ref) error {
	return usagef("%s is not in out/: sx build %s builds it, sx preseed %s pulls the published image", ref, ref, ref)
}

// imageFor chooses the image for a platform; without one, the first, which is the one that
// digests/ lists.
func imageFor(stored *cache.Image, platform string) (inspected, error) {
	for _, i := range stored.Images {
		if platform == "" || oci.SamePlatform(i.Platform, platform) {
			return inspected{platform: i.Platform, Image: inspect.Image{Blobs: storeBlobs{stored}, Layers: i.Layers}}, nil
		}
	}
	return inspected{}, usagef("out/%s has no image for %s", stored.Output, platform)
}

func addImagePlatformFlag(c *cobra.Command, platform *string) {
	c.Flags().StringVar(platform, "platform", "", "look at the image for `PLATFORM`, such as linux/amd64 (default: the first)")
}

// noFile makes a usage error of a path that is not in an image.
func noFile(ref graph.Ref, err error) error {
	var missing *inspect.ErrNoFile
	if errors.As(err, &missing) {
		return usagef("%s has no %q", ref, missing.Path)
	}
	return err
}
