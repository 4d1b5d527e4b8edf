package signers

import (
	"context"
	"fmt"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/preseed"
)

// LocalVersion reads the version of an image from out/. If out/ does not have the image,
// it asks the registries for it: repositories returns where an output is published.
func LocalVersion(store *cache.Store, client *preseed.Client, repositories func(output string) []string) Version {
	return func(ctx context.Context, img signature.Image) (string, error) {
		digest, err := oci.ParseDigest("sha256:" + img.Digest)
		if err != nil {
			return "", err
		}
		output := strings.TrimPrefix(img.Repository, Namespace)
		if image, err := store.Image(output); err == nil {
			defer image.Close()
			for _, i := range image.Images {
				if i.Manifest.Digest == digest {
					return i.Version, nil
				}
			}
		}
		return PublishedVersion(ctx, client, repositories(output), digest)
	}
}

// PublishedVersion returns the version in the manifest that a registry has for a digest.
// It asks the repositories one after the other.
func PublishedVersion(ctx context.Context, client *preseed.Client, repositories []string, d oci.Digest) (string, error) {
	var errs []string
	for _, name := range repositories {
		repo, err := client.Repository(ctx, name)
		if err == nil {
			var data []byte
			var mediaType string
			if data, mediaType, err = repo.Retrying(2, nil).Manifest(ctx, d); err == nil {
				image, err := oci.ParseManifest(data, mediaType)
				return image.Version, err
			}
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		errs = append(errs, fmt.Sprintf("%s: %v", name, err))
	}
	return "", fmt.Errorf("its manifest cannot be fetched: %s", strings.Join(errs, "; "))
}
