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

// edges says what the containerfile needs from other outputs, in the order of the
// file, and which images of other registries it names, sorted. The args are the
// build's; targets are the stages that become outputs, none being the last. A use
// that BuildKit would not find in the file, in fetch/ or in out/ is a problem unless
// it names its image by digest, because BuildKit would look for it in a registry.
func (c *containerfile) edges(args map[string]string, targets []string) ([]edge, []Image, []problem) {
	r := &resolver{file: c, targets: targets}
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

type resolver struct {
	file     *containerfile
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

// outside takes u for stagex/<output>, or for an image of another registry that is
// named by digest. Everything else is an error that says what BuildKit would do.
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
