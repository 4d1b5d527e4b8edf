package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// Image is an image of another registry that a definition names by digest. Nothing in the
// tree says how it was made, so no build proves it.
type Image struct {
	// Name is the reference as BuildKit looks it up: "debian@sha256:…",
	// "quay.io/a/b:1.2@sha256:…".
	Name       string `json:"name"`
	Host       string `json:"host"`       // "docker.io", "registry.example:5000"
	Repository string `json:"repository"` // "library/debian"
	Digest     string `json:"digest"`     // "sha256:" and 64 hexadecimal digits, of an image index or a manifest
	// Platform is FROM's --platform; "" stands for the output's.
	Platform string `json:"platform,omitempty"`
	// Line is the first in the Containerfile that names it.
	Line int `json:"-"`
}

// Source returns the reference without the tag, which decides nothing:
// "docker.io/library/debian@sha256:…".
func (i Image) Source() string { return i.Host + "/" + i.Repository + "@" + i.Digest }

// Platforms returns the platforms to pull for a request with these platforms.
func (i Image) Platforms(request []string) []string {
	if i.Platform != "" {
		return []string{i.Platform}
	}
	return request
}

// parseImage parses a reference with a digest. It reports false for one without, which
// could mean another image tomorrow.
//
// Source: BuildKit's dockerui, NamedContext.
func parseImage(named reference.Named) (Image, bool, error) {
	digested, ok := named.(reference.Digested)
	if !ok {
		return Image{}, false, nil
	}
	i := Image{
		Name: reference.FamiliarString(named), Host: reference.Domain(named),
		Repository: reference.Path(named), Digest: digested.Digest().String(),
	}
	if h, err := ParseHash(strings.TrimPrefix(i.Digest, "sha256:")); err != nil || h == (Hash{}) {
		return Image{}, true, fmt.Errorf("digest %q: want sha256: and 64 lower-case hexadecimal digits", i.Digest)
	}
	return i, true, nil
}

// platformOf parses the value of FROM --platform= before an image of another registry. A
// platform must be the same in every build. The target's own needs no name.
func (s *argScope) platformOf(word string) (string, error) {
	if word == "" || word == "$TARGETPLATFORM" || word == "${TARGETPLATFORM}" {
		return "", nil
	}
	value, err := s.base(word)
	if err == nil && !platformPattern().MatchString(value) {
		err = errors.New("want <os>/<architecture>, such as " + DefaultPlatform)
	}
	if err != nil {
		return "", fmt.Errorf("--platform=%q: %w", word, err)
	}
	return value, nil
}

// addImage notes an image once for each platform.
func (r *resolver) addImage(i Image) {
	at, found := slices.BinarySearchFunc(r.images, i, compareImages)
	if !found {
		r.images = slices.Insert(r.images, at, i)
	}
}

func compareImages(a, b Image) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Platform, b.Platform))
}

// errForeign refuses images of other registries if the caller of Load allows none.
var errForeign = errors.New("it is an image of another registry, and none is allowed here")

// checkImages reports the images that may not be used. The user decides that, not the
// tree, so it is checked on every load.
func (l *loader) checkImages(d *draft) {
	allow := l.foreign
	if allow == nil {
		allow = func(Image) error { return errForeign }
	}
	for _, i := range d.def.Images {
		if err := allow(i); err != nil {
			d.fail(containerfileName, problem{i.Line, fmt.Errorf("%q: %w", i.Name, err)})
		}
	}
}

// Images are the images of other registries that the definitions of refs name, by
// name and platform, each once.
func (g *Graph) Images(refs []Ref) []Image {
	var images []Image
	for _, r := range refs {
		if o := g.index[r]; o != nil {
			images = append(images, o.Definition.Images...)
		}
	}
	slices.SortStableFunc(images, compareImages)
	return slices.CompactFunc(images, func(a, b Image) bool { return compareImages(a, b) == 0 })
}
