package graph

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// edge is a use that refers to an output.
type edge struct {
	to   Ref
	line int
}

// edges says what the containerfile needs from other outputs, in the order of the
// file, and which images of other registries it names, sorted. The args are the
// build's; targets are the stages that become outputs, none being the last. A use
// that BuildKit would not find in the file, in fetch/ or in out/ is a problem unless
// it names its image by digest, because BuildKit would look for it in a registry.
func (c *containerfile) edges(args map[string]string, targets []string) ([]edge, []Image, []problem) {
	r := &resolver{file: c, targets: targets}
	if c.escape == parser.DefaultEscapeToken {
		r.lex = lexes.Get().(*shell.Lex)
		defer lexes.Put(r.lex)
	} else {
		r.lex = shell.NewLex(c.escape)
	}
	scope := r.globalArgs(args)
	stages := make(map[string]*argScope, len(c.stages))
	for i, stage := range c.stages {
		base, err := scope.base(stage.base)
		if err != nil {
			r.problems = append(r.problems, problem{stage.line, fmt.Errorf("FROM %q: %w", stage.base, err)})
		} else {
			unset, platform := scope.unset, func() (string, error) { return scope.platformOf(stage.platform) }
			r.resolve(i, use{how: "FROM", text: base, line: stage.line, unset: unset, platform: platform})
		}
		for _, u := range stage.uses {
			r.resolve(i, u)
		}
		stages[stage.name] = r.checkWords(i, scope, stages[base], args)
	}
	return r.edges, r.images, r.problems
}

// lexes are for files with the default escape character. One takes more than a kilobyte.
var lexes = sync.Pool{New: func() any { return shell.NewLex(parser.DefaultEscapeToken) }}

type resolver struct {
	file     *containerfile
	lex      *shell.Lex
	targets  []string
	edges    []edge
	images   []Image // sorted
	problems []problem
}

// resolve looks a use of stage number i up in BuildKit's order.
func (r *resolver) resolve(i int, u use) {
	err := r.checkTrigger(i, u)
	inside := false
	if err == nil {
		inside, err = r.inside(i, u)
	}
	if err == nil && !inside {
		err = r.outside(u)
	}
	if err != nil && u.unset != "" {
		err = fmt.Errorf("%w; nothing before the first FROM sets $%s", err, u.unset)
	}
	if err != nil {
		r.problems = append(r.problems, problem{u.line, fmt.Errorf("%s %q: %w", u.how, u.text, err)})
	}
}

// inside reports whether u is found without an image: scratch, the context fetch, or a
// stage before stage number i.
//
// FROM compares stage names as they are, the others in lower case. Only COPY takes a
// number, and it finds later stages too, which BuildKit then refuses.
//
// Source: BuildKit's dockerfile2llb, addState, toCommand and detectRunMount.
func (r *resolver) inside(i int, u use) (bool, error) {
	if u.text == "scratch" || u.text == "fetch" {
		return true, nil
	}
	if n, err := strconv.Atoi(u.text); err == nil && u.how == "COPY --from" {
		if n < 0 || n >= i {
			return false, fmt.Errorf("no stage before this one has that number")
		}
		return true, nil
	}
	name := u.text
	if u.how != "FROM" {
		name = strings.ToLower(name)
	}
	n := slices.IndexFunc(r.file.stages, func(s buildStage) bool { return s.name == name && name != "" })
	if n >= i {
		return false, fmt.Errorf("the stage must come before this one")
	}
	return n >= 0, nil
}

// checkTrigger refuses a reference that an output would pass on: whoever builds
// upon it would have to find it.
func (r *resolver) checkTrigger(i int, u use) error {
	if !u.trigger {
		return nil
	}
	exported := i == len(r.file.stages)-1
	if len(r.targets) > 0 {
		exported = slices.Contains(r.targets, r.file.stages[i].name)
	}
	if exported {
		return fmt.Errorf("ONBUILD of an output: it would be looked up in every build upon it")
	}
	return nil
}

// outside resolves u to stagex/<output>, or to an image of another registry with a
// digest. Everything else is an error that says what BuildKit would do.
func (r *resolver) outside(u use) error {
	output, ok := strings.CutPrefix(u.text, "stagex/")
	to, err := ParseRef(output)
	if ok && err == nil {
		r.edges = append(r.edges, edge{to, u.line})
		return nil
	}
	if strings.Contains(u.text, "$") {
		return fmt.Errorf("variables are not expanded here; name a stage, and the variable in its FROM")
	}
	named, invalid := reference.ParseNormalizedNamed(u.text)
	if invalid != nil {
		return fmt.Errorf("neither a stage before this one nor an image: %w", invalid)
	}
	familiar := reference.FamiliarName(named)
	ours := strings.HasPrefix(familiar, "stagex/")
	switch image, digested, wrong := parseImage(named); {
	case ours && !reference.IsNameOnly(named):
		return fmt.Errorf("BuildKit would pull %s from a registry: name outputs without tag or digest", named)
	case ok:
		return err
	case ours:
		return fmt.Errorf(notFound+"; write %s", reference.TagNameOnly(named), familiar)
	case wrong != nil:
		return wrong
	case !digested:
		return fmt.Errorf(notFound, reference.TagNameOnly(named))
	default:
		return r.takeImage(u, image)
	}
}

// notFound wants what BuildKit would pull.
const notFound = "neither scratch, fetch, a stage before this one, stagex/<output> nor an image by digest: BuildKit would pull %s"

func (r *resolver) takeImage(u use, image Image) (err error) {
	if u.platform != nil {
		image.Platform, err = u.platform()
	}
	if err == nil {
		image.Line = u.line
		r.addImage(image)
	}
	return err
}

// usesOf returns the uses of a command other than FROM.
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
	// The parser leaves most of a mount for later, when variables are known. They
	// are allowed if they cannot change the kind of a mount: "1" is a valid path,
	// size and boolean, but not a type.
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

// triggerUses parses the instruction after ONBUILD as BuildKit does: with the default
// escape character, whatever the file's.
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

// checkLocal refuses what ADD would download itself: a URL, or git's user@host: form.
// Both have a colon before any slash. A source that begins with a variable could become
// one.
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
