package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/distribution/reference"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/signers"
	"codeberg.org/stagex/sx/preseed"
)

// An imageRef names a published image by its digest.
type imageRef struct {
	repository string // "docker.io/stagex/pallet-rust"
	output     string // "pallet-rust"
	digest     oci.Digest
}

// isImageRef reports whether arg is an image reference with a digest, not a selector.
func isImageRef(arg string) bool { return strings.Contains(arg, "@sha256:") }

// parseImageRef parses an image reference with a digest, in the syntax of docker and
// podman. Its repository must end in stagex/<output>, the name that signatures have.
func parseImageRef(text string) (imageRef, error) {
	named, err := reference.ParseNormalizedNamed(text)
	digested, ok := named.(reference.Digested)
	if err != nil || !ok {
		return imageRef{}, usagef("want an image such as docker.io/stagex/pallet-rust@sha256:<64 hexadecimal digits>, not %.200q", text)
	}
	digest, err := oci.ParseDigest(digested.Digest().String())
	if err != nil {
		return imageRef{}, usagef("%.200q: %w", text, err)
	}
	before, output, _ := cutLast(reference.Path(named), "/")
	if before != "stagex" && !strings.HasSuffix(before, "/stagex") {
		return imageRef{}, usagef("%.200q is not a StageX image: its repository does not end in stagex/<output>", text)
	}
	return imageRef{reference.TrimNamed(named).Name(), output, digest}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// imageJSON is an image as --json prints it. It only gains fields.
type imageJSON struct {
	Image      string        `json:"image"`
	Digest     oci.Digest    `json:"digest"`
	Signatures *signers.JSON `json:"signatures"`
}

// verifyImages checks the signatures of published images. It needs no tree.
func verifyImages(ctx context.Context, a *app, args []string, o verifyOptions) error {
	var images []imageRef
	for _, arg := range args {
		image, err := parseImageRef(arg)
		if err != nil {
			return err
		}
		images = append(images, image)
	}
	set, err := userSettings(a)
	if err != nil {
		return err
	}
	from, err := o.signatures.place(set, "")
	if err != nil {
		return err
	}
	client, err := preseed.NewClient(registryClient(set))
	if err != nil {
		return err
	}
	defer client.Close()
	codes, all := []int{exitOK}, []imageJSON{}
	for _, image := range images {
		l, err := newLookup(set, from, func(ctx context.Context, _ signature.Image) (string, error) {
			return signers.PublishedVersion(ctx, client, []string{image.repository}, image.digest)
		})
		if err != nil {
			return err
		}
		r := l.Of(ctx, image.output, image.digest)
		l.Source.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		codes, all = append(codes, signedCode(&r)), append(all, imageJSON{image.repository, image.digest, r.JSON()})
		if !o.json {
			fmt.Fprintf(a.stdout, "%s %s\n", image.digest.Hex(), image.repository)
			r.Print(a.stdout)
		}
	}
	if o.json {
		if err := printJSON(a.stdout, map[string]any{"images": all}); err != nil {
			return err
		}
	}
	if code := worst(codes...); code != exitOK {
		return codeError(code)
	}
	return nil
}
