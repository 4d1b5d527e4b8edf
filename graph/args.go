package graph

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// The limits of words with variables, in bytes. BuildKit has none, and a few lines that
// each double the one before make gigabytes, in the engine too.
const (
	maxWord    = 16 << 10  // a word before the first FROM or in one, and the values in it
	maxText    = 256 << 10 // a word in a stage; here-documents are words too
	maxPattern = 4 << 10   // a word with ${name%pattern} or ${name//pattern/text}, which multiply lengths
	maxWords   = 16 << 20  // all words of a Containerfile, with their values
)

// argScope holds the variables that the Containerfile sets: the ARGs before the first
// FROM, or those of a stage.
type argScope struct {
	lex    *shell.Lex
	values map[string]string
	varies map[string]bool // variables whose value differs between builds
	limit  int             // maxWord or maxText
	spent  *int            // of maxWords

	// State of the word that is being expanded:
	unset  string // the first variable in it that is not set
	varied string // the first variable in it whose value differs between builds
	left   int    // bytes of values that it may still hold
}

var _ shell.EnvGetter = (*argScope)(nil)

// platformArgs are set by BuildKit for each build; an ARG may override them.
//
// Source: BuildKit's dockerfile2llb, defaultArgs.
var platformArgs = map[string]bool{
	"BUILDPLATFORM": true, "BUILDOS": true, "BUILDOSVERSION": true, "BUILDARCH": true, "BUILDVARIANT": true,
	"TARGETPLATFORM": true, "TARGETOS": true, "TARGETOSVERSION": true, "TARGETARCH": true, "TARGETVARIANT": true, "TARGETSTAGE": true,
}

// globalArgs reads the ARGs before the first FROM.
//
// Source: BuildKit's dockerfile2llb, buildMetaArgs.
func (r *resolver) globalArgs(args map[string]string) *argScope {
	s := &argScope{lex: r.lex, values: map[string]string{}, varies: platformArgs, limit: maxWord, spent: new(int)}
	if len(r.file.args) > 0 {
		s.varies = maps.Clone(platformArgs)
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

// expand expands a word as BuildKit does, within limits: beyond them the error is a
// *limitError.
func (s *argScope) expand(word string) (string, error) {
	s.unset, s.varied, s.left = "", "", s.limit
	if literal(word) {
		return word, nil
	}
	if !strings.Contains(word, "$") {
		value, _, err := s.lex.ProcessWord(word, s)
		return value, err
	}
	cost := len(word)
	if strings.Contains(word, "${") && strings.ContainsAny(word, "#%/") && patternWord().MatchString(word) {
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

// literal reports whether BuildKit expands word to itself: it is ASCII and holds no
// character that means something to [shell.Lex], whose escape character is one of two.
func literal(word string) bool {
	for _, c := range []byte(word) {
		switch c {
		case '$', '<', '\'', '"', '\\', '`', 0:
			return false
		}
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// limitError says why a word is not expanded.
type limitError struct {
	text string
	long bool // the word itself is too long, so it may well expand to something short
}

func (e *limitError) Error() string { return e.text }

var (
	patternWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{[^{}:$]+[#%/]`) })
	replaceAll  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{[^{}:/$]*//`) })
)

// replacesInReplacement reports whether one ${name//pattern/text} may be inside another,
// which would multiply lengths again.
func replacesInReplacement(word string) bool {
	if strings.Count(word, "//") < 2 {
		return false
	}
	starts := replaceAll().FindAllStringIndex(word, -1)
	if len(starts) < 2 {
		return false
	}
	if strings.ContainsAny(word, "\\`'\"") { // these may hide where one ends
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

// checkWords expands the words of stage number i, as far as its Containerfile sets their
// variables, to find those that exceed a limit. It returns the variables of the stage,
// for stages that are built on it. Other errors are left to the engine, which knows the
// variables of images.
//
// Source: BuildKit's dockerfile2llb, dispatch and dispatchArg.
func (r *resolver) checkWords(i int, global, base *argScope, args map[string]string) *argScope {
	s := &argScope{lex: global.lex, values: map[string]string{}, limit: maxText, spent: global.spent}
	if base != nil {
		maps.Copy(s.values, base.values)
	}
	for _, command := range r.file.stages[i].commands {
		var err error
		switch c := command.(type) {
		case *instructions.ArgCommand:
			err = s.declare(c, global, args)
		case *instructions.EnvCommand:
			if err = s.expandAll(c, true); err == nil {
				for _, pair := range c.Env {
					s.values[pair.Key] = pair.Value
				}
			}
		case instructions.SupportsSingleWordExpansion:
			err = s.expandAll(c, false)
		}
		if err != nil {
			r.problems = append(r.problems, problemf(firstLine(command.Location()), "%s: %w", command.Name(), err))
			return s
		}
	}
	return s
}

// declare sets the variables of an ARG.
func (s *argScope) declare(c *instructions.ArgCommand, global *argScope, args map[string]string) error {
	for _, arg := range c.Args {
		value, ok := args[arg.Key]
		if !ok && arg.Value == nil {
			value, ok = global.values[arg.Key]
		} else if !ok {
			var err error
			if value, err = s.expand(*arg.Value); errors.As(err, new(*limitError)) {
				return err
			}
			ok = err == nil
		}
		if ok {
			s.values[arg.Key] = value
		}
	}
	return nil
}

// expandAll expands the words of c in place. It fails only if a limit is exceeded; a word
// that is itself too long counts only if it sets a variable.
func (s *argScope) expandAll(c instructions.SupportsSingleWordExpansion, sets bool) error {
	var limit error
	_ = c.Expand(func(word string) (string, error) {
		value, err := s.expand(word)
		if err == nil {
			return value, nil
		}
		var e *limitError
		if errors.As(err, &e) && (sets || !e.long) {
			limit = err
		}
		return value, err
	})
	return limit
}
