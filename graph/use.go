package graph

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// usesOf returns what a command other than FROM names.
func usesOf(command instructions.Command) ([]use, error) {
	switch c := command.(type) {
	case *instructions.CopyCommand:
		if c.From != "" {
			return []use{{how: "COPY --from", text: c.From}}, nil
		}
	case *instructions.AddCommand:
		return nil, checkLocal(c.SourcePaths)
	case *instructions.RunCommand:
		var uses []use
		for _, m := range instructions.GetMounts(c) {
			if m.From != "" {
				uses = append(uses, use{how: "RUN --mount=from", text: m.From})
			}
		}
		return uses, nil
	case *instructions.OnbuildCommand:
		return triggerUses(c.Expression)
	}
	return nil, nil
}

// triggerUses reads what stands behind ONBUILD, as BuildKit does: with the
// default escape character, whatever the file's.
//
// Source: BuildKit's dockerfile2llb, initOnBuildTriggers.
func triggerUses(expression string) ([]use, error) {
	ast, err := parser.Parse(strings.NewReader(expression))
	if err != nil {
		return nil, fmt.Errorf("ONBUILD: %w", parserProblem(err).err)
	}
	if len(ast.AST.Children) != 1 {
		return nil, errors.New("ONBUILD: want one instruction")
	}
	command, err := instructions.ParseCommand(ast.AST.Children[0])
	if err != nil {
		return nil, fmt.Errorf("ONBUILD: %w", parserProblem(err).err)
	}
	uses, err := usesOf(command)
	for i := range uses {
		uses[i].trigger = true
	}
	return uses, err
}

// checkLocal refuses what ADD would fetch itself: a URL, or git's user@host:
// form. Both have a colon before any slash. A source that begins with a variable
// could become one.
//
// Source: BuildKit's dfgitutil.ParseGitRef and dockerfile2llb, dispatchCopy.
func checkLocal(sources []string) error {
	for _, source := range sources {
		switch i := strings.IndexAny(source, "/:$\"'\\`"); {
		case i < 0 || source[i] == '/':
		case source[i] == ':':
			return fmt.Errorf("ADD %q: a remote source; declare it in package.toml and ADD it from fetch/", source)
		default:
			return fmt.Errorf("ADD %q: could become a remote source; begin it with fetch/ or ./", source)
		}
	}
	return nil
}
