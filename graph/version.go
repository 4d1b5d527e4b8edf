package graph

import (
	"fmt"
	"regexp"
	"strings"
)

// version is a non-empty version in the forms that upstream derives from it.
//
// Source: upstream's src/common.py, CommonUtils.
type version string

// tagPattern is the tag of an OCI image, which every version becomes.
//
// Source: OCI distribution specification, "Pulling manifests".
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// maxTag is how many characters a tag may have. (In the pattern it would make each
// start of sx compile a large one.)
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
	if len(v) > maxTag || !tagPattern.MatchString(v) {
		return fmt.Errorf("version %q is no valid image tag: want up to 128 of letters, digits, . _ -, not beginning with . or -", v)
	}
	return nil
}
