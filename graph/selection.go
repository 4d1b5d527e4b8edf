package graph

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Select turns what a user names into outputs, sorted and distinct. A selector
// is the first of these that it can be:
//
//   - an output, "core-rust"
//   - a stage, "pallet": all its outputs
//   - "<stage>/<name>": that output, or the family of that definition
//   - a bare name, "rust": the outputs of that name in every stage
//   - a pattern of [path.Match] over outputs, "core-*", or with a slash over
//     "<stage>/<name>"
//
// The errors, joined, are *UnknownTargetError and those of malformed patterns.
func (g *Graph) Select(selectors []string) ([]Ref, error) {
	chosen := make(map[Ref]bool)
	errs := make([]error, 0)
	for _, s := range selectors {
		refs, err := g.selectOne(s)
		if err != nil {
			errs = append(errs, err)
		}
		for _, r := range refs {
			chosen[r] = true
		}
	}
	if err := joinDistinct(errs); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(chosen), Ref.Compare), nil
}

func (g *Graph) selectOne(selector string) ([]Ref, error) {
	if r, err := ParseRef(selector); err == nil && g.index[r] != nil {
		return []Ref{r}, nil
	}
	if slices.Contains(Stages, selector) {
		return g.matching(func(r Ref) bool { return r.Stage == selector }), nil
	}
	if strings.ContainsAny(selector, `*?[\`) {
		return g.selectPattern(selector)
	}
	var refs []Ref
	if stage, name, ok := strings.Cut(selector, "/"); ok {
		refs = g.selectFolder(stage, name)
	} else {
		refs = g.matching(func(r Ref) bool { return r.Name == selector })
	}
	if len(refs) == 0 {
		return nil, &UnknownTargetError{Name: selector, Suggestions: g.suggestTargets(selector)}
	}
	return refs, nil
}

func (g *Graph) matching(match func(Ref) bool) []Ref {
	var refs []Ref
	for _, o := range g.outputs {
		if match(o.Ref) {
			refs = append(refs, o.Ref)
		}
	}
	return refs
}

func (g *Graph) selectPattern(pattern string) ([]Ref, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("selecting %q: %w", pattern, err)
	}
	refs := g.matching(func(r Ref) bool {
		text := r.String()
		if strings.Contains(pattern, "/") {
			text = r.Stage + "/" + r.Name
		}
		ok, _ := path.Match(pattern, text)
		return ok
	})
	if len(refs) == 0 {
		return nil, &UnknownTargetError{Name: pattern}
	}
	return refs, nil
}

// selectFolder prefers the output of that name: the definition llvm has an
// output llvm and thirty others.
func (g *Graph) selectFolder(stage, name string) []Ref {
	if r := (Ref{Stage: stage, Name: name}); g.index[r] != nil {
		return []Ref{r}
	}
	for _, d := range g.definitions {
		if d.Stage == stage && d.Name == name {
			return d.Outputs
		}
	}
	return nil
}

// suggestTargets knows two mistakes: a slip of the finger, and the name of a
// definition whose outputs are called otherwise.
func (g *Graph) suggestTargets(selector string) []string {
	for _, d := range g.definitions {
		if d.Name == selector || d.Stage+"-"+d.Name == selector {
			return []string{d.Stage + "/" + d.Name}
		}
	}
	names := slices.Clone(Stages)
	for _, o := range g.outputs {
		switch {
		case strings.Contains(selector, "/"):
			names = append(names, o.Ref.Stage+"/"+o.Ref.Name)
		default:
			names = append(names, o.Ref.String(), o.Ref.Name)
		}
	}
	slices.Sort(names)
	return suggest(selector, slices.Compact(names))
}
