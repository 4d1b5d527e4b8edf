package graph

import (
	"errors"
	"maps"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// checkWords expands the words of stage number i as far as its Containerfile says
// what is in them, to find those that the engine had no room for. It returns the
// variables of the stage, for those that are built upon it. Other errors are left to
// the engine, which knows the variables of images.
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

// expandAll expands the words of c in place, and fails for a limit only. That a word
// is too long to be expanded counts if it sets a variable.
func (s *argScope) expandAll(c instructions.SupportsSingleWordExpansion, sets bool) error {
	var limit error
	_ = c.Expand(func(word string) (string, error) {
		value, err := s.expand(word)
		var e *limitError
		if errors.As(err, &e) && (sets || !e.long) {
			limit = err
		}
		return value, err
	})
	return limit
}
