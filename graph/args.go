package graph

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// The limits of variables before the first FROM and in it: BuildKit has none, and
// a few lines that each double the one before make gigabytes.
const (
	maxWord    = 16 << 10 // bytes of a word with variables, and of their values
	maxReplace = 1 << 10  // the same where ${name//pattern/text} multiplies lengths
	maxWords   = 1000     // with variables, of a Containerfile
)

// argScope is the global ARGs.
type argScope struct {
	lex    *shell.Lex
	values map[string]string
	varies map[string]bool // those that are not the same in every build
	words  int

	// Of the word at hand:
	unset  string // the first that is asked for and not set
	varied string // the first that is asked for and not the same in every build
	left   int    // bytes of values that it may still hold
}

var _ shell.EnvGetter = (*argScope)(nil)

// platformArgs are set by BuildKit for each build, and may be set anew.
//
// Source: BuildKit's dockerfile2llb, defaultArgs.
var platformArgs = []string{
	"BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
	"TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE",
}

// globalArgs reads the ARGs before the first FROM.
//
// Source: BuildKit's dockerfile2llb, buildMetaArgs.
func (r *resolver) globalArgs(args map[string]string) *argScope {
	s := &argScope{lex: shell.NewLex(r.file.escape), values: map[string]string{}, varies: map[string]bool{}}
	for _, name := range platformArgs {
		s.varies[name] = true
	}
	for _, command := range r.file.args {
		for _, arg := range command.Args {
			if value, ok := args[arg.Key]; ok {
				s.set(arg.Key, value, false)
				continue
			}
			if arg.Value == nil {
				continue
			}
			value, err := s.expand(*arg.Value)
			if err != nil {
				r.problems = append(r.problems, problemf(firstLine(command.Location()), "ARG %s: %w", arg.Key, err))
			}
			s.set(arg.Key, value, s.varied != "")
		}
	}
	return s
}

func (s *argScope) set(name, value string, varies bool) {
	s.values[name], s.varies[name] = value, varies
}

// base expands the image of a FROM, which must be the same in every build.
func (s *argScope) base(word string) (string, error) {
	value, err := s.expand(word)
	switch {
	case err != nil:
		return "", err
	case s.varied != "":
		return "", fmt.Errorf("$%s is not the same in every build", s.varied)
	case value == "" && s.unset != "":
		return "", fmt.Errorf("expands to nothing: nothing before the first FROM sets $%s", s.unset)
	case value == "":
		return "", errors.New("expands to nothing")
	}
	return value, nil
}

// expand makes of a word what BuildKit does, within limits.
func (s *argScope) expand(word string) (string, error) {
	s.unset, s.varied, s.left = "", "", maxWord
	if strings.Contains(word, "$") {
		if s.words++; s.words > maxWords {
			return "", fmt.Errorf("more than %d words with variables before it", maxWords)
		}
		if replaceAll.MatchString(word) {
			s.left = maxReplace
		}
		if len(word) > s.left || replacesInReplacement(word) {
			return "", errors.New("a word with variables that is too long to be expanded")
		}
	}
	limit := s.left
	value, _, err := s.lex.ProcessWord(word, s)
	switch {
	case s.left < 0:
		return "", fmt.Errorf("expands to more than %d bytes", limit)
	case err != nil:
		return "", err
	}
	return value, nil
}

var replaceAll = regexp.MustCompile(`\$\{[^{}:/$]*//`)

// replacesInReplacement reports whether one ${name//pattern/text} may be inside
// another, which would multiply lengths again.
func replacesInReplacement(word string) bool {
	starts := replaceAll.FindAllStringIndex(word, -1)
	if len(starts) < 2 {
		return false
	}
	if strings.ContainsAny(word, "\\`'\"") { // which may hide where one ends
		return true
	}
	for i, start := range starts[1:] {
		between := word[starts[i][0]:start[0]]
		if strings.Count(between, "${") > strings.Count(between, "}") {
			return true
		}
	}
	return false
}

// Get implements shell.EnvGetter.
func (s *argScope) Get(name string) (string, bool) {
	if s.varies[name] {
		s.varied = cmp.Or(s.varied, name)
	}
	value, ok := s.values[name]
	if !ok && !s.varies[name] {
		s.unset = cmp.Or(s.unset, name)
	}
	if s.left -= len(value); s.left < 0 {
		return "", ok
	}
	return value, ok || s.varies[name]
}

// Keys implements shell.EnvGetter.
func (s *argScope) Keys() []string { return nil }
