package graph

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// The limits of words with variables, in bytes: BuildKit has none, and a few lines
// that each double the one before make gigabytes, in the engine too.
const (
	maxWord    = 16 << 10  // of a word before the first FROM or in one, and of the values in it
	maxText    = 256 << 10 // the same in a stage, where here-documents are words too
	maxPattern = 4 << 10   // the same if ${name%pattern} or ${name//pattern/text} multiplies lengths
	maxWords   = 16 << 20  // of all words of a Containerfile, with their values
)

// argScope is variables as far as the Containerfile sets them: the ARGs before the
// first FROM, or those of a stage.
type argScope struct {
	lex    *shell.Lex
	values map[string]string
	varies map[string]bool // those that are not the same in every build
	limit  int             // maxWord or maxText
	spent  *int            // of maxWords

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
	s := &argScope{lex: shell.NewLex(r.file.escape), values: map[string]string{}, varies: map[string]bool{}, limit: maxWord, spent: new(int)}
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

// expand makes of a word what BuildKit does, within limits: beyond them the error is
// a *limitError.
func (s *argScope) expand(word string) (string, error) {
	s.unset, s.varied, s.left = "", "", s.limit
	if !strings.Contains(word, "$") {
		value, _, err := s.lex.ProcessWord(word, s)
		return value, err
	}
	cost := len(word)
	if patternWord.MatchString(word) {
		s.left = maxPattern
		cost *= maxPattern / 4
	}
	limit := s.left
	if len(word) > limit || replacesInReplacement(word) {
		return "", &limitError{"a word with variables that is too long to be expanded", true}
	}
	if *s.spent += cost; *s.spent > maxWords {
		return "", &limitError{text: fmt.Sprintf("the words with variables up to here are more than %d bytes, or have too many patterns", maxWords)}
	}
	value, _, err := s.lex.ProcessWord(word, s)
	if *s.spent += len(value); s.left < 0 {
		return "", &limitError{text: fmt.Sprintf("expands to more than %d bytes", limit)}
	}
	return value, err
}

// limitError says that a word is not expanded.
type limitError struct {
	text string
	long bool // the word itself is too long, so it may well expand to something short
}

func (e *limitError) Error() string { return e.text }

var (
	patternWord = regexp.MustCompile(`\$\{[^{}:$]+[#%/]`)
	replaceAll  = regexp.MustCompile(`\$\{[^{}:/$]*//`)
)

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
