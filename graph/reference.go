package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
)

// edge is a use that leads to an output.
type edge struct {
	to   Ref
	line int
}

// edges says what the containerfile needs from other outputs, in the order of
// the file. The args are the build's; targets are the stages that become
// outputs, none being the last. A use that BuildKit would not find in the file, in
// fetch/ or in out/ is a problem, because it would look for it in a registry.
func (c *containerfile) edges(args map[string]string, targets []string) ([]edge, []problem) {
	r := &resolver{file: c, targets: targets}
	scope := r.globalArgs(args)
	for i, stage := range c.stages {
		base, err := scope.expand(stage.base)
		if err == nil && base == "" {
			err = fmt.Errorf("expands to nothing")
		}
		if err != nil {
			r.problems = append(r.problems, problem{stage.line, fmt.Errorf("FROM %q: %w", stage.base, err)})
		} else {
			r.resolve(i, use{how: "FROM", text: base, line: stage.line})
		}
		for _, u := range stage.uses {
			r.resolve(i, u)
		}
	}
	return r.edges, r.problems
}

type resolver struct {
	file     *containerfile
	targets  []string
	edges    []edge
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
		var to Ref
		if to, err = parseImage(u.text); err == nil {
			r.edges = append(r.edges, edge{to, u.line})
			return
		}
	}
	if err != nil {
		r.problems = append(r.problems, problem{u.line, fmt.Errorf("%s %q: %w", u.how, u.text, err)})
	}
}

// inside reports whether u is found without an image: scratch, the context
// fetch, or a stage before stage number i.
//
// FROM compares stage names as they are, the others in lower case; COPY alone
// takes a number, and finds later stages too, which BuildKit then refuses.
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

// parseImage reads stagex/<output>. Everything else is an error that says what
// BuildKit would do.
func parseImage(text string) (Ref, error) {
	output, ok := strings.CutPrefix(text, "stagex/")
	if r, err := ParseRef(output); ok && err == nil {
		return r, nil
	}
	if strings.Contains(text, "$") {
		return Ref{}, fmt.Errorf("variables are not expanded here; name a stage, and the variable in its FROM")
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return Ref{}, fmt.Errorf("neither a stage before this one nor an image: %w", err)
	}
	if !reference.IsNameOnly(named) && strings.HasPrefix(reference.FamiliarName(named), "stagex/") {
		return Ref{}, fmt.Errorf("BuildKit would pull %s from a registry: name outputs without tag or digest", named)
	}
	if !ok {
		hint := ""
		if strings.HasPrefix(reference.FamiliarName(named), "stagex/") {
			hint = "; write " + reference.FamiliarName(named)
		}
		return Ref{}, fmt.Errorf("neither scratch, fetch, a stage before this one nor stagex/<output>: BuildKit would pull %s%s", reference.TagNameOnly(named), hint)
	}
	return ParseRef(output)
}
