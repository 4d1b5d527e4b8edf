package graph

import (
	"fmt"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// argScope is the global ARGs as far as they are the same in every build.
type argScope struct {
	lex     *shell.Lex
	values  map[string]string
	unknown []string // asked for, in the word at hand
}

var _ shell.EnvGetter = (*argScope)(nil)

// globalArgs reads the ARGs before the first FROM. The ones that BuildKit sets
// by itself (TARGETARCH and such) are not among them: they differ from build to
// build.
//
// Source: BuildKit's dockerfile2llb, buildMetaArgs.
func (r *resolver) globalArgs(args map[string]string) *argScope {
	s := &argScope{lex: shell.NewLex(r.file.escape), values: map[string]string{}}
	for _, command := range r.file.args {
		for _, arg := range command.Args {
			if value, ok := args[arg.Key]; ok {
				s.values[arg.Key] = value
				continue
			}
			if arg.Value == nil {
				continue
			}
			if value, err := s.expand(*arg.Value); err == nil {
				s.values[arg.Key] = value
			} else {
				delete(s.values, arg.Key)
			}
		}
	}
	return s
}

// expand fails where the word depends on what is not known.
func (s *argScope) expand(word string) (string, error) {
	s.unknown = nil
	value, _, err := s.lex.ProcessWord(word, s)
	switch {
	case err != nil:
		return "", err
	case len(s.unknown) > 0:
		return "", fmt.Errorf("nothing before the first FROM sets $%s to a value that every build shares", s.unknown[0])
	}
	return value, nil
}

// Get implements shell.EnvGetter.
func (s *argScope) Get(name string) (string, bool) {
	value, ok := s.values[name]
	if !ok {
		s.unknown = append(s.unknown, name)
	}
	return value, ok
}

// Keys implements shell.EnvGetter.
func (s *argScope) Keys() []string { return nil }
