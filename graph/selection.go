package graph

import (
	"cmp"
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
//   - a definition's folder, "packages/core/rust", or as a shell completes it,
//     "core/rust/": all its outputs; a stage's folder: all of the stage
//   - "<stage>/<name>": that output, or the family of that definition
//   - a bare name, "rust": the outputs of that name in every stage
//   - a pattern of [path.Match] over outputs, "core-*", or with a slash over
//     "<stage>/<name>", which is the definition's where packages/ is before it
//
// A "./" at the beginning means nothing.
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

// target is a selector without what only says that it is a path.
type target struct {
	typed  string
	text   string // "core/rust"
	folder bool   // it names a folder, not an output
}

func readTarget(typed string) target {
	text := typed
	for strings.HasPrefix(text, "./") {
		text = strings.TrimLeft(text[1:], "/")
	}
	trimmed := strings.TrimRight(text, "/")
	folder := trimmed != text
	text, inPackages := strings.CutPrefix(trimmed, packagesDir+"/")
	return target{typed, text, folder || inPackages}
}

func (g *Graph) selectOne(selector string) ([]Ref, error) {
	t := readTarget(selector)
	switch r, err := ParseRef(t.text); {
	case t.text == "":
		return nil, &UnknownTargetError{Name: selector, Reason: "names nothing"}
	case err == nil && g.index[r] != nil && !t.folder:
		return []Ref{r}, nil
	case slices.Contains(Stages, t.text):
		return g.matching(func(o *Output) bool { return o.Ref.Stage == t.text }), nil
	case strings.ContainsAny(t.text, `*?[\`):
		return g.selectPattern(t)
	}
	var refs []Ref
	if stage, name, ok := strings.Cut(t.text, "/"); ok {
		refs = g.selectFolder(Ref{Stage: stage, Name: name}, t.folder)
	} else if !t.folder {
		refs = g.matching(func(o *Output) bool { return o.Ref.Name == t.text })
	}
	if len(refs) == 0 {
		return nil, g.unknownTarget(t)
	}
	return refs, nil
}

func (g *Graph) matching(match func(*Output) bool) []Ref {
	var refs []Ref
	for _, o := range g.outputs {
		if match(o) {
			refs = append(refs, o.Ref)
		}
	}
	return refs
}

func (g *Graph) selectPattern(t target) ([]Ref, error) {
	if _, err := path.Match(t.text, ""); err != nil {
		return nil, fmt.Errorf("selecting %q: %w", t.typed, err)
	}
	refs := g.matching(func(o *Output) bool {
		text := o.Ref.String()
		switch {
		case t.folder:
			text = o.Definition.folder()
		case strings.Contains(t.text, "/"):
			text = o.Ref.Stage + "/" + o.Ref.Name
		}
		ok, _ := path.Match(t.text, text)
		return ok
	})
	if len(refs) == 0 {
		return nil, &UnknownTargetError{Name: t.typed, Reason: "matches no output"}
	}
	return refs, nil
}

// folder is "<stage>/<name>".
func (d *Definition) folder() string { return d.Stage + "/" + d.Name }

// selectFolder takes the definition of that folder. Where it may as well be an
// output that wins: the definition llvm has an output llvm and thirty others.
func (g *Graph) selectFolder(r Ref, folder bool) []Ref {
	if !folder && g.index[r] != nil {
		return []Ref{r}
	}
	for _, d := range g.definitions {
		if d.Stage == r.Stage && d.Name == r.Name {
			return d.Outputs
		}
	}
	return nil
}

// unknownTarget knows three mistakes: a slip of the finger, a definition that is
// skipped, and the name of one whose outputs are called otherwise.
func (g *Graph) unknownTarget(t target) error {
	e := &UnknownTargetError{Name: t.typed}
	stage, name, isPath := strings.Cut(t.text, "/")
	r := Ref{Stage: stage, Name: name}
	if !isPath {
		r, _ = ParseRef(t.text)
	}
	if e.Reason = cmp.Or(g.skipped[r], g.skipped[Ref{Stage: r.Stage}]); e.Reason == "" {
		e.Suggestions = g.suggestTargets(t)
	}
	return e
}

func (g *Graph) suggestTargets(t target) []string {
	for _, d := range g.definitions {
		if d.Name == t.text || d.Stage+"-"+d.Name == t.text {
			return []string{d.folder()}
		}
	}
	names := slices.Clone(Stages)
	for _, o := range g.outputs {
		switch {
		case t.folder:
			names = append(names, o.Definition.folder())
		case strings.Contains(t.text, "/"):
			names = append(names, o.Ref.Stage+"/"+o.Ref.Name)
		default:
			names = append(names, o.Ref.String(), o.Ref.Name)
		}
	}
	slices.Sort(names)
	return suggest(t.text, slices.Compact(names))
}
