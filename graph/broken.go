package graph

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Broken is a definition whose outputs cannot be built, because it has errors or because
// it depends on an output of another broken definition: by FROM, COPY --from, RUN --mount
// or version_from.
type Broken struct {
	Dir string // "packages/core/x"; for a stage that cannot be read, its folder
	// Outputs are the definition's, sorted. If package.toml cannot be read, they are
	// guessed from its text.
	Outputs []Ref
	Errors  []*FileError // sorted; empty if only another definition has errors
	// Because is the broken output that the definition depends on, and Root the
	// definition with errors at the end of that chain; zero and nil if it has errors
	// itself.
	Because Ref
	Root    *Broken

	draft *draft
}

// BrokenError lists the errors of definitions and what they break.
type BrokenError struct{ Broken []*Broken }

// Error has a line for each error, and one for each definition that breaks others.
func (e *BrokenError) Error() string {
	var errs []*FileError
	var roots []*Broken
	dependents := map[*Broken][]Ref{}
	for _, b := range e.Broken {
		root := cmp.Or(b.Root, b)
		if !slices.Contains(roots, root) {
			roots = append(roots, root)
			errs = append(errs, root.Errors...)
		}
		if b.Root != nil {
			dependents[root] = append(dependents[root], b.Outputs...)
		}
	}
	var lines []string
	for _, err := range sortErrors(errs) {
		lines = append(lines, err.Error())
	}
	for _, root := range roots {
		if refs := dependents[root]; len(refs) > 0 {
			lines = append(lines, fmt.Sprintf("%s breaks what depends on it: %s", printable(root.Dir), someRefs(refs)))
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the *FileError of all definitions.
func (e *BrokenError) Unwrap() []error {
	var errs []error
	for _, b := range e.Broken {
		for _, err := range cmp.Or(b.Root, b).Errors {
			errs = append(errs, err)
		}
	}
	return errs
}

// maxRefs bounds the outputs that a message names.
const maxRefs = 8

func someRefs(refs []Ref) string {
	slices.SortFunc(refs, Ref.Compare)
	names := make([]string, 0, maxRefs)
	for _, r := range refs[:min(len(refs), maxRefs)] {
		names = append(names, r.String())
	}
	text := strings.Join(names, ", ")
	if more := len(refs) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Broken returns the definitions whose outputs cannot be built, sorted by folder.
func (g *Graph) Broken() []*Broken { return slices.Clone(g.broken) }

// BrokenOutput returns the broken definition that has, or may have, the output r; nil if
// there is none.
func (g *Graph) BrokenOutput(r Ref) *Broken {
	if b := g.brokenBy[r]; b != nil || g.index[r] != nil {
		return b
	}
	i := slices.IndexFunc(g.broken, func(b *Broken) bool { return b.draft.mentions(r) })
	if i < 0 {
		return nil
	}
	return g.broken[i]
}

var (
	subpackagesList = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^\s*subpackages\s*=\s*\[([^\]]*)`) })
	quotedText      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"[^"\n]*"|'[^'\n]*'`) })
)

// maxGuess bounds the text that guess searches, in bytes.
const maxGuess = 16 << 10

// guess returns the outputs of a definition whose package.toml cannot be read, as far as
// its text shows them.
func (d *draft) guess() (refs []Ref) {
	names := []string{d.def.Name}
	text := d.def.PackageTOML[:min(len(d.def.PackageTOML), maxGuess)]
	if list := subpackagesList().FindSubmatch(text); list != nil {
		if quoted := quotedText().FindAll(list[1], -1); len(quoted) > 0 {
			names = names[:0]
			for _, q := range quoted {
				names = append(names, string(q[1:len(q)-1]))
			}
		}
	}
	for _, name := range names {
		if r := (Ref{d.def.Stage, name}); checkComponent(r.String()) == nil {
			refs = append(refs, r)
		}
	}
	slices.SortFunc(refs, Ref.Compare)
	return slices.Compact(refs)
}

// mentions reports whether a package.toml that cannot be read names r.
func (d *draft) mentions(r Ref) bool {
	return d.manifest == nil && d.def.Stage == r.Stage &&
		(strings.Contains(string(d.def.PackageTOML), strconv.Quote(r.Name)) ||
			strings.Contains(string(d.def.PackageTOML), "'"+r.Name+"'"))
}

// hides reports whether d is of that stage and its outputs are unknown, because
// package.toml was not read.
func (d *draft) hides(stage string) bool {
	return d.manifest == nil && d.def.Stage == stage && d.def.PackageTOML == nil
}

// findBroken returns the definitions that are broken: those with errors, and their
// dependents.
func (l *loader) findBroken() (broken []*Broken) {
	var queue []*draft
	for _, d := range l.drafts {
		if len(d.errs) > 0 {
			d.broken = &Broken{Dir: d.def.Dir, Outputs: d.outputs(), Errors: sortErrors(d.errs), draft: d}
			queue = append(queue, d)
		}
	}
	if len(queue) == 0 {
		return nil
	}
	dependents := l.dependents()
	for ; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		broken = append(broken, at.broken)
		for _, d := range dependents[at] {
			if d.draft.broken == nil {
				d.draft.broken = &Broken{Dir: d.draft.def.Dir, Outputs: d.draft.outputs(), Because: d.on, Root: cmp.Or(at.broken.Root, at.broken), draft: d.draft}
				queue = append(queue, d.draft)
			}
		}
	}
	slices.SortFunc(broken, func(a, b *Broken) int { return strings.Compare(a.Dir, b.Dir) })
	return broken
}

// dependent is a definition that depends on an output.
type dependent struct {
	draft *draft
	on    Ref
}

// dependents returns the dependents of each definition.
func (l *loader) dependents() map[*draft][]dependent {
	of := map[*draft][]dependent{}
	for _, d := range l.drafts {
		for _, e := range d.edges {
			if owner := l.owner(e.to); owner != nil {
				of[owner] = append(of[owner], dependent{d, e.to})
			} else if owner := l.mentioning(e.to); owner != nil {
				of[owner] = append(of[owner], dependent{d, e.to})
			}
		}
		if d.versionOwner != nil {
			from, _ := ParseRef(*d.manifest.Package.VersionFrom) // versionOwner has parsed it
			of[d.versionOwner] = append(of[d.versionOwner], dependent{d, from})
		}
	}
	return of
}

// removeBroken removes the outputs of broken definitions from the graph.
func (l *loader) removeBroken(g *Graph) {
	g.brokenBy = make(map[Ref]*Broken)
	for _, b := range g.broken {
		for _, r := range b.Outputs {
			if o := l.index[r]; o == nil || l.owner(r).broken != nil {
				g.brokenBy[r] = b
			}
		}
	}
	for r := range g.brokenBy {
		delete(l.index, r)
	}
	l.outputs = slices.DeleteFunc(l.outputs, func(o *Output) bool { return l.index[o.Ref] != o })
	for i, o := range l.outputs {
		o.at = i
	}
}
