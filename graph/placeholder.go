package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// placeholderNames are all that `file` and `mirrors` may hold.
//
// Source: upstream's package.toml(5), PLACEHOLDERS.
var placeholderNames = append(slices.Sorted(maps.Keys(version("").placeholders())), "file", "format")

// expand replaces each {name} of template. What stands between braces must be a
// known placeholder, and have a value here.
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

// missing says why a placeholder is not among values.
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
