package graph

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Select turns what a user names into outputs, and into broken definitions of which
// something is named, both sorted and distinct. A selector is the first of these
// that it can be:
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
// A "./" at the beginning means nothing. What people paste is understood too: an image
// reference ("stagex/core-rust:1.90.0", also with docker.io/ or quay.io/ before it) whose
// tag is the output's version, "latest" or "local", a path below out/ or fetch/
// ("out/core-rust/index.json"), and one inside a definition's folder
// ("packages/core/rust/Containerfile").
//
// The errors, joined, are *UnknownTargetError and those of malformed patterns.
func (g *Graph) Select(selectors []string) ([]Ref, []*Broken, error) {
	chosen, brokenChosen := make(map[Ref]bool), make(map[*Broken]bool)
	errs := make([]error, 0)
	for _, s := range selectors {
		refs, broken, err := g.selectOne(readTarget(s))
		if err != nil {
			errs = append(errs, err)
		}
		for _, r := range refs {
			chosen[r] = true
		}
		for _, b := range broken {
			brokenChosen[b] = true
		}
	}
	if err := joinDistinct(errs); err != nil {
		return nil, nil, err
	}
	broken := slices.SortedFunc(maps.Keys(brokenChosen), func(a, b *Broken) int { return strings.Compare(a.Dir, b.Dir) })
	return slices.SortedFunc(maps.Keys(chosen), Ref.Compare), broken, nil
}

// selectOne also accepts a stage that has no outputs. A tag or digest must fit.
func (g *Graph) selectOne(t target) (refs []Ref, broken []*Broken, err error) {
	if t.digest != "" {
		return nil, nil, &UnknownTargetError{Name: t.typed, Reason: "it names an image by its digest, and a selector what the tree builds: leave the digest away"}
	}
	if refs, broken, err = g.selectText(t); err != nil {
		return nil, nil, err
	}
	for _, r := range refs {
		if o := g.index[r]; !t.fits(o) {
			return nil, nil, &UnknownTargetError{Name: t.typed, Reason: t.unfit(o)}
		}
	}
	return refs, broken, nil
}

func (g *Graph) selectText(t target) (refs []Ref, broken []*Broken, err error) {
	stage, name, isPath := strings.Cut(t.text, "/")
	r, err := ParseRef(t.text)
	if isPath {
		r, err = Ref{Stage: stage, Name: name}, nil
	}
	if err == nil && !t.folder { // the definition llvm has an output llvm and thirty others
		if g.index[r] != nil {
			return []Ref{r}, nil, nil
		}
		if b := g.BrokenOutput(r); b != nil {
			return nil, []*Broken{b}, nil
		}
	}
	isStage, isPattern := slices.Contains(Stages, t.text), strings.ContainsAny(t.text, `*?[\`)
	switch {
	case t.text == "." || t.text == packagesDir:
		return nil, nil, &UnknownTargetError{Name: t.typed, Reason: "it is the whole tree: use --all"}
	case t.text == "":
		return nil, nil, &UnknownTargetError{Name: t.typed, Reason: "names nothing"}
	case isStage:
		refs, broken = g.matching(func(n named) bool { return n.ref.Stage == t.text })
	case isPattern:
		if _, err := path.Match(t.text, ""); err != nil {
			return nil, nil, fmt.Errorf("selecting %q: %w", t.typed, err)
		}
		refs, broken = g.matching(t.pattern())
	case isPath:
		refs, broken = g.matching(func(n named) bool { return n.folder == r })
	case !t.folder:
		refs, broken = g.matching(func(n named) bool { return n.ref.Name == t.text })
	}
	switch {
	case len(refs)+len(broken) > 0 || isStage:
		return refs, broken, nil
	case isPattern:
		return nil, nil, &UnknownTargetError{Name: t.typed, Reason: "matches no output"}
	}
	return nil, nil, g.unknownTarget(t)
}

// named is an output as selectors see it.
type named struct {
	ref    Ref
	folder Ref // of its definition: stage and name
}

// pattern is of path.Match.
func (t target) pattern() func(named) bool {
	return func(n named) bool {
		text := n.ref.String()
		switch {
		case t.folder:
			text = n.folder.Stage + "/" + n.folder.Name
		case strings.Contains(t.text, "/"):
			text = n.ref.Stage + "/" + n.ref.Name
		}
		ok, _ := path.Match(t.text, text)
		return ok
	}
}

// matching returns the outputs that match accepts. A broken definition without known
// outputs is matched by its own name.
func (g *Graph) matching(match func(named) bool) (refs []Ref, broken []*Broken) {
	for _, o := range g.outputs {
		if match(named{o.Ref, Ref{o.Definition.Stage, o.Definition.Name}}) {
			refs = append(refs, o.Ref)
		}
	}
	for _, b := range g.broken {
		folder := Ref{b.draft.def.Stage, b.draft.def.Name}
		has := func(r Ref) bool { return match(named{r, folder}) }
		if slices.ContainsFunc(b.Outputs, has) || len(b.Outputs) == 0 && has(folder) {
			broken = append(broken, b)
		}
	}
	return refs, broken
}

// folder is "<stage>/<name>".
func (d *Definition) folder() string { return d.Stage + "/" + d.Name }

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
	for _, b := range g.broken {
		if b.draft.hides(b.draft.def.Stage) && (r.Stage == "" || r.Stage == b.draft.def.Stage) && len(e.Hidden) < maxSuggestions {
			e.Hidden = append(e.Hidden, b.Dir)
		}
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

// maxDistance is how many edits away a suggestion may be, as in BuildKit's own
// util/suggest.
const maxDistance = 2

const maxSuggestions = 3

// suggest returns the options that are nearest to name and equally near, sorted
// and at most three of them.
func suggest(name string, options []string) []string {
	type candidate struct {
		option   string
		distance int
	}
	var near []candidate
	for _, option := range options {
		if abs(len(option)-len(name)) > maxDistance || option == name {
			continue
		}
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(option), nil); d <= maxDistance {
			near = append(near, candidate{option, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), strings.Compare(a.option, b.option))
	})
	var out []string
	for _, c := range near[:min(len(near), maxSuggestions)] {
		if c.distance == near[0].distance {
			out = append(out, c.option)
		}
	}
	return out
}

// didYouMean returns the end of a message; "" without suggestions.
func didYouMean(suggestions []string) string {
	if len(suggestions) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(suggestions, ", ") + "?"
}

func abs(n int) int { return max(n, -n) }
