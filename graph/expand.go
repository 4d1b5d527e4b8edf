package graph

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// placeholderNames are all placeholders that `file` and `mirrors` may contain.
//
// Source: upstream's package.toml(5), PLACEHOLDERS.
var placeholderNames = append(slices.Sorted(maps.Keys(version("").placeholders())), "file", "format")

// expand replaces each {name} of template. Every name must be a known placeholder with a
// value in values.
func expand(template string, values map[string]string) (string, error) {
	var b strings.Builder
	rest := template
	for {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			b.WriteString(rest)
			return b.String(), nil
		}
		b.WriteString(rest[:i])
		end := strings.IndexAny(rest[i+1:], "{}")
		if rest[i] == '}' || end < 0 || rest[i+1+end] != '}' {
			return "", fmt.Errorf("expanding %q: unpaired brace", template)
		}
		name := rest[i+1 : i+1+end]
		value, ok := values[name]
		if !ok {
			return "", fmt.Errorf("expanding %q: %w", template, missing(name, values))
		}
		b.WriteString(value)
		rest = rest[i+end+2:]
	}
}

// missing says why values has no value for a placeholder.
func missing(name string, values map[string]string) error {
	_, versioned := values["version"]
	switch {
	case !slices.Contains(placeholderNames, name):
		return fmt.Errorf("unknown placeholder {%s}%s", name, didYouMean(braced(suggest(name, placeholderNames))))
	case name == "file":
		return fmt.Errorf("{file} would name itself")
	case strings.HasPrefix(name, "version") && !versioned:
		return fmt.Errorf("{%s} has no value: neither the source nor the package has a version", name)
	}
	return fmt.Errorf("{%s} has no value here", name)
}

func braced(names []string) []string {
	for i, name := range names {
		names[i] = "{" + name + "}"
	}
	return names
}

// version is a non-empty version in the forms that upstream derives from it.
//
// Source: upstream's src/common.py, CommonUtils.
type version string

// tagPattern is the tag of an OCI image, which every version becomes.
//
// Source: OCI distribution specification, "Pulling manifests".
var tagPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`) })

// maxTag is the maximal length of a tag. (In tagPattern it would make each start of sx
// compile a large expression.)
const maxTag = 128

func (v version) under() string { return strings.ReplaceAll(string(v), ".", "_") }
func (v version) dash() string  { return strings.ReplaceAll(string(v), ".", "-") }

func (v version) major() string {
	major, _, _ := strings.Cut(string(v), ".")
	return major
}

// majorMinor is empty for a version with no dot, where upstream says "None".
func (v version) majorMinor() string {
	parts := strings.SplitN(string(v), ".", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "." + parts[1]
}

func (v version) stripSuffix() string {
	stripped, _, _ := strings.Cut(string(v), "-")
	return stripped
}

// placeholders are the values for every placeholder that speaks of the version.
func (v version) placeholders() map[string]string {
	return map[string]string{
		"version":              string(v),
		"version_under":        v.under(),
		"version_dash":         v.dash(),
		"version_major":        v.major(),
		"version_major_minor":  v.majorMinor(),
		"version_strip_suffix": v.stripSuffix(),
	}
}

func checkVersion(v string) error {
	if len(v) > maxTag || !tagPattern().MatchString(v) {
		return fmt.Errorf("version %q is not a valid image tag: want up to 128 of letters, digits, . _ -, not beginning with . or -", v)
	}
	return nil
}
