package graph

import (
	"slices"
	"strings"
)

// target is a selector without the parts that only say what kind of name it is.
type target struct {
	typed  string
	text   string // "core/rust", "core-rust"
	folder bool   // it names a folder, not an output
	tag    string // of an image reference, "" if it has none
	digest string // the same
}

func readTarget(typed string) target {
	text := typed
	for strings.HasPrefix(text, "./") {
		text = strings.TrimLeft(text[1:], "/")
	}
	t := target{typed: typed}
	if image, ok := cutRegistry(text); ok {
		t.readReference(image)
		return t
	}
	trimmed := strings.TrimRight(text, "/")
	t.folder = trimmed != text
	first, rest, _ := strings.Cut(trimmed, "/")
	switch {
	case first == packagesDir && rest != "":
		t.text, t.folder = segments(rest, 2), true
	case first == "fetch" && rest != "":
		t.text, t.folder = segments(rest, 2), true
	case first == "out" && rest != "":
		t.text, t.folder = segments(rest, 1), false
	case !strings.Contains(trimmed, "/") && strings.ContainsAny(trimmed, ":@"):
		t.readReference(trimmed)
	default:
		t.text = trimmed
	}
	return t
}

// cutRegistry cuts what comes before the name of an output in an image reference.
func cutRegistry(text string) (image string, ok bool) {
	for _, host := range []string{"docker.io/", "quay.io/"} {
		if rest, found := strings.CutPrefix(text, host); found {
			return strings.CutPrefix(rest, "stagex/")
		}
	}
	return strings.CutPrefix(text, "stagex/")
}

// readReference reads "core-rust:1.90.0@sha256:…".
func (t *target) readReference(image string) {
	image, t.digest, _ = strings.Cut(image, "@")
	t.text, t.tag, _ = strings.Cut(image, ":")
}

// fits reports whether an image of o may have the tag.
func (t target) fits(o *Output) bool {
	return slices.Contains([]string{"", "latest", "local", o.Tag()}, t.tag)
}

// unfit says which tag would fit.
func (t target) unfit(o *Output) string {
	if o.Version == "" {
		return o.String() + " has no version in this tree"
	}
	return o.String() + " is version " + o.Version + " in this tree"
}

// segments returns the first n parts of a path. Of a pattern it returns all: one that is
// too long matches nothing.
func segments(path string, n int) string {
	parts := strings.Split(path, "/")
	if strings.ContainsAny(path, `*?[\`) {
		return path
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}
