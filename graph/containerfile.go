package graph

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// containerfile is a Containerfile as BuildKit parses it, reduced to what can refer to
// something outside it.
type containerfile struct {
	escape rune
	args   []instructions.ArgCommand // before the first FROM
	stages []buildStage
}

// maxInstructions bounds the time that parsing a Containerfile takes. Upstream's longest
// has about 400 lines.
const maxInstructions = 2000

// buildStage is one FROM and what follows it.
type buildStage struct {
	name string // lower case; "" if it has none
	base string // not expanded, like platform
	line int
	uses []use

	platform string                 // FROM --platform
	commands []instructions.Command // that expand words or set variables
}

// use is a reference of an instruction to another image, stage or context.
type use struct {
	how     string // "FROM", "COPY --from" or "RUN --mount=from"
	text    string
	line    int
	trigger bool   // of an ONBUILD instruction
	unset   string // in FROM: a variable that is not set

	// platform returns FROM's --platform, which matters only for images of other
	// registries; nil stands for the target's.
	platform func() (string, error)
}

// parseContainerfile parses data. It returns all problems; a nil containerfile comes with
// the one that stopped it.
func parseContainerfile(data []byte) (*containerfile, []problem) {
	if syntax, _, ranges, ok := detectSyntax(data); ok {
		return nil, []problem{problemf(firstLine(ranges), "syntax directive %q: BuildKit would pull another frontend from a registry", syntax)}
	}
	ast, stages, args, err := parseInstructions(data)
	if err != nil {
		return nil, []problem{parserProblem(err)}
	}
	c := &containerfile{escape: ast.EscapeToken, args: args}
	problems := make([]problem, 0)
	for _, s := range stages {
		stage, found := c.readStage(s)
		c.stages = append(c.stages, stage)
		problems = append(problems, found...)
	}
	return c, problems
}

// detectSyntax is parser.DetectSyntax, which finds the directive in comments of two
// styles and in JSON. It is not called for a file that begins with none of them, because
// it takes a tenth of the time of reading a definition.
func detectSyntax(data []byte) (ref, command string, at []parser.Range, ok bool) {
	start := bytes.TrimLeft(data, "\xef\xbb\xbf \t\r\n")
	if len(start) == 0 || !bytes.ContainsRune([]byte("#/{"), rune(start[0])) {
		return "", "", nil, false
	}
	return parser.DetectSyntax(data)
}

// noLinter reports nothing, so that nothing changes it.
var noLinter = linter.New(&linter.Config{})

// parseInstructions turns a panic of the parser, whose input is not trusted, into an
// error.
func parseInstructions(data []byte) (ast *parser.Result, stages []instructions.Stage, args []instructions.ArgCommand, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("BuildKit's parser cannot read it: %v", r)
		}
	}()
	if ast, err = parser.Parse(bytes.NewReader(data)); err != nil {
		return nil, nil, nil, err
	}
	if nodes := ast.AST.Children; len(nodes) > maxInstructions {
		err = fmt.Errorf("more than %d instructions", maxInstructions)
		return nil, nil, nil, parser.WithLocation(err, nodes[maxInstructions].Location())
	}
	stages, args, err = instructions.Parse(ast.AST, noLinter)
	if err == nil && len(stages) == 0 {
		err = errors.New("no FROM in it")
	}
	return ast, stages, args, err
}

// parserProblem extracts the line from an error of BuildKit's parser.
func parserProblem(err error) problem {
	line := 0
	var located *parser.LocationError
	if errors.As(err, &located) {
		err = located.Unwrap()
		if len(located.Locations) > 0 {
			line = firstLine(located.Locations[0])
		}
	}
	return problemf(line, "%s", err.Error())
}

func firstLine(ranges []parser.Range) int {
	if len(ranges) == 0 {
		return 0
	}
	return ranges[0].Start.Line
}

func (c *containerfile) readStage(s instructions.Stage) (buildStage, []problem) {
	stage := buildStage{
		name: s.Name, base: s.BaseName, platform: s.Platform, line: firstLine(s.Location),
		uses: make([]use, 0, len(s.Commands)), commands: make([]instructions.Command, 0, len(s.Commands)),
	}
	var problems []problem
	if err := c.checkStageName(s.Name); err != nil {
		problems = append(problems, problem{stage.line, err})
	}
	for _, command := range s.Commands {
		line := firstLine(command.Location())
		uses, err := usesOf(command)
		if err != nil {
			problems = append(problems, problem{line, err})
		}
		for _, u := range uses {
			u.line = line
			stage.uses = append(stage.uses, u)
		}
		switch command.(type) {
		case *instructions.RunCommand: // of which usesOf expanded what can be
		case *instructions.ArgCommand, instructions.SupportsSingleWordExpansion:
			stage.commands = append(stage.commands, command)
		}
	}
	return stage, problems
}

// checkStageName refuses names that mean something else to BuildKit: a stage with the
// name of a named context is replaced by that, and a second stage of one name replaces
// the first only for the stages after it.
//
// Source: BuildKit's dockerfile2llb, buildDispatchStates.
func (c *containerfile) checkStageName(name string) error {
	switch {
	case name == "":
		return nil
	case name == "scratch" || name == "context" || name == "fetch":
		return fmt.Errorf("stage %q: the name is reserved, BuildKit would not look at the stage", name)
	case checkComponent(name) != nil:
		return fmt.Errorf("stage %q: %w", name, checkComponent(name))
	case slices.ContainsFunc(c.stages, func(s buildStage) bool { return s.name == name }):
		return fmt.Errorf("stage %q: defined twice", name)
	}
	return nil
}
