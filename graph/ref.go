package graph

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Stages are the folders of packages/ that hold definitions, sorted. No stage is a prefix
// of another, so comparing stage and name one after the other orders refs as their text
// does.
//
// Source: upstream's Makefile, STAGES.
var Stages = []string{"bootstrap", "core", "pallet", "user"}

// Ref names an output, "<stage>-<name>". The name may hold hyphens. The zero
// Ref names nothing.
type Ref struct{ Stage, Name string }

// componentPattern is a path component of a repository name, which every output
// is: images are stagex/<output>.
//
// Source: distribution/reference, path-component.
var componentPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$`)

// maxComponent keeps docker.io/stagex/<output> within the 255 characters of a repository
// name, and the name of a folder in out/ within its limit.
const maxComponent = 200

// ParseRef reads "<stage>-<name>". The stage is one of Stages, and the whole a
// valid component of a repository name.
func ParseRef(s string) (Ref, error) {
	stage, name, ok := strings.Cut(s, "-")
	if !ok || !slices.Contains(Stages, stage) {
		return Ref{}, fmt.Errorf("parsing output %q: want <stage>-<name>, the stage one of %s", s, strings.Join(Stages, ", "))
	}
	if err := checkComponent(s); err != nil {
		return Ref{}, fmt.Errorf("parsing output %q: %w", s, err)
	}
	return Ref{Stage: stage, Name: name}, nil
}

// String is "<stage>-<name>".
func (r Ref) String() string { return r.Stage + "-" + r.Name }

// Compare orders refs as the bytes of their text.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(strings.Compare(r.Stage, o.Stage), strings.Compare(r.Name, o.Name))
}

// MarshalText is String.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRef.
func (r *Ref) UnmarshalText(text []byte) error {
	parsed, err := ParseRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// checkComponent returns why s cannot be the name of an image, of a folder of out/ and of
// a folder of fetch/ at once.
func checkComponent(s string) error {
	switch {
	case len(s) > maxComponent:
		return fmt.Errorf("longer than %d characters", maxComponent)
	case !componentPattern.MatchString(s):
		return fmt.Errorf("not a repository component: want lower-case letters and digits, with single . or _, or hyphens, between them")
	}
	return nil
}
