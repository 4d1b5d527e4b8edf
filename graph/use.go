package graph

import (
	"errors"
	"fmt"
	"slices"
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
		if err := checkRun(c); err != nil {
			return nil, err
		}
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

// checkRun refuses what would let bytes into a build that the tree does not name:
// two builds of one definition could then differ, and one that nobody else can
// repeat would pass for proven.
func checkRun(c *instructions.RunCommand) error {
	// The parser leaves most of a mount for later, when variables are known.
	// They may stand where they cannot change what a mount is: "1" is a path, a
	// size and a truth, but no type.
	err := c.Expand(func(word string) (string, error) {
		if strings.ContainsAny(word, "$\"'\\`") {
			return "1", nil
		}
		return word, nil
	})
	if err != nil {
		return fmt.Errorf("RUN --mount: %w", err)
	}
	for _, m := range instructions.GetMounts(c) {
		switch m.Type {
		case instructions.MountTypeCache:
			return errors.New("RUN --mount=type=cache: it keeps bytes of earlier builds, so that the result depends on them")
		case instructions.MountTypeSecret, instructions.MountTypeSSH:
			return fmt.Errorf("RUN --mount=type=%s: nobody else has it, so that nobody could repeat the build", m.Type)
		}
	}
	switch {
	case slices.Contains(c.FlagsUsed, "device"):
		return errors.New("RUN --device: the result would depend on the machine")
	case instructions.GetSecurity(c) != instructions.SecuritySandbox:
		return fmt.Errorf("RUN --security=%s: builds run in the sandbox only", instructions.GetSecurity(c))
	case instructions.GetNetwork(c) == instructions.NetworkHost:
		return errors.New("RUN --network=host: builds get no more than the default network")
	}
	return nil
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
