package graph

import (
	"cmp"
	"slices"
	"sync"
)

// progress of a definition's version.
type progress int

const (
	unresolved progress = iota
	resolving
	resolved
)

// maxSuggested bounds the suggestions that are searched for, in a tree full of errors.
const maxSuggested = 50

// link finds the definition of each output and resolves version_from.
func (l *loader) link() {
	l.outputs, l.index = nil, make(map[Ref]*Output, len(l.drafts))
	old := !slices.ContainsFunc(l.drafts, func(d *draft) bool { return d.skip != hidden && d.skip != noPackageTOML })
	for i, d := range l.drafts {
		if d.skip != "" {
			l.folders[Ref{Stage: d.def.Stage, Name: d.def.Name}] = true
		}
		switch {
		case d.skip == "":
			continue
		case d.skip == hidden:
			l.pass(d.def.Dir, "has no Containerfile and no package.toml", d.outputs()...)
			continue
		case !old:
			l.warn("%s "+d.skip+": skipped", d.def.Dir)
		case i == 0:
			l.warn("%s holds no package.toml: this is a tree of 2024, before StageX had them, which sx does not build", packagesDir)
		}
		l.pass(d.def.Dir, d.skip, d.outputs()...)
	}
	l.drafts = slices.DeleteFunc(l.drafts, func(d *draft) bool { return d.skip != "" })
	for i, d := range l.drafts {
		d.def.at = i
		if d.manifest != nil {
			l.addOutputs(d)
		}
	}
	for _, d := range l.drafts {
		if d.manifest == nil { // the likely outputs, unless another definition has them
			l.addOutputs(d)
		}
	}
	for _, d := range l.drafts {
		l.resolveVersion(d)
	}
}

// addOutputs registers the outputs of d. Two definitions that have the same one are both
// wrong.
func (l *loader) addOutputs(d *draft) {
	for _, r := range d.outputs() {
		other := l.owner(r)
		if other == nil {
			l.index[r] = &Output{Ref: r, Definition: d.def, name: r.String()}
			l.outputs = append(l.outputs, l.index[r])
			d.owns = append(d.owns, l.index[r])
			continue
		}
		if d.manifest != nil {
			d.refuseOutput(r, other)
			other.refuseOutput(r, d)
		}
	}
}

func (d *draft) refuseOutput(r Ref, other *draft) {
	key := "name"
	if len(d.manifest.Package.Subpackages) > 0 {
		key = "subpackages"
	}
	d.refuse(key, "output %q: %s claims it too", r, other.def.Dir)
}

// owner returns the draft of an output, or nil.
func (l *loader) owner(r Ref) *draft {
	if o := l.index[r]; o != nil {
		return l.drafts[o.Definition.at]
	}
	return nil
}

// outputs returns the definition's outputs or, if package.toml cannot be read, the likely
// ones, so that definitions which depend on these are not blamed.
func (d *draft) outputs() []Ref {
	if d.manifest == nil {
		return d.guess()
	}
	return d.def.Outputs
}

// resolveVersion follows version_from to a version.
func (l *loader) resolveVersion(d *draft) {
	if d.version != unresolved || d.manifest == nil || d.manifest.Package.VersionFrom == nil || d.def.Version != "" {
		return
	}
	d.version = resolving
	defer func() { d.version = resolved }()
	owner, err := l.versionOwner(*d.manifest.Package.VersionFrom)
	switch {
	case err != nil:
		d.refuse("version_from", "version_from: %w", err)
	case owner.version == resolving:
		d.versionOwner, d.unsure = owner, true
		owner.refuse("version_from", "%w", l.versionCycle(owner))
	default:
		l.resolveVersion(owner)
		d.versionOwner = owner
		d.unsure = owner.unsure || len(owner.errs) > 0
		d.def.Version = owner.def.Version
		d.def.VersionFrom, _ = ParseRef(*d.manifest.Package.VersionFrom) // versionOwner parsed it
		if d.def.Version == "" && !d.unsure {
			d.refuse("version_from", "version_from: %q has no version", *d.manifest.Package.VersionFrom)
		}
	}
	if d.def.Version == "" {
		d.def.Version = refusedVersion
	}
}

// versionOwner returns the draft of the output that version_from names.
func (l *loader) versionOwner(from string) (*draft, error) {
	r, err := ParseRef(from)
	if err != nil {
		return nil, err
	}
	if owner := cmp.Or(l.owner(r), l.mentioning(r)); owner != nil {
		return owner, nil
	}
	return nil, l.unknown(r)
}

// versionCycle follows version_from from d until it is back at d.
func (l *loader) versionCycle(d *draft) *CycleError {
	cycle := &CycleError{Kind: "version_from"}
	for at := d; ; {
		cycle.Path = append(cycle.Path, Ref{Stage: at.def.Stage, Name: at.def.Name})
		if at == d && len(cycle.Path) > 1 {
			return cycle
		}
		at, _ = l.versionOwner(*at.manifest.Package.VersionFrom)
	}
}

// mentioning returns a definition whose package.toml cannot be read and mentions r, which
// explains why r is unknown; nil if there is none.
func (l *loader) mentioning(r Ref) *draft {
	i := slices.IndexFunc(l.drafts, func(d *draft) bool { return d.mentions(r) })
	if i < 0 {
		return nil
	}
	return l.drafts[i]
}

func (l *loader) unknown(r Ref) error {
	e := &UnknownDependencyError{Name: r.String(), Skipped: cmp.Or(l.skipped[r], l.skipped[Ref{Stage: r.Stage}])}
	if e.Skipped != "" {
		return e
	}
	for _, d := range l.drafts {
		if d.hides(r.Stage) && len(e.Hidden) < maxSuggestions {
			e.Hidden = append(e.Hidden, d.def.Dir)
		}
	}
	if l.suggested++; l.suggested > maxSuggested {
		return e
	}
	if l.names == nil {
		for r := range l.index {
			l.names = append(l.names, r.String())
		}
	}
	e.Suggestions = suggest(e.Name, l.names)
	return e
}

// arrange numbers the outputs, sorted by ref.
func (l *loader) arrange() {
	slices.SortFunc(l.outputs, func(a, b *Output) int { return a.Ref.Compare(b.Ref) })
	for i, o := range l.outputs {
		o.at = i
	}
}

// connect adds the edges of the outputs of d. All outputs of a family have the same, as
// upstream has it.
func (l *loader) connect(d *draft) {
	deps := make([]*Output, 0, len(d.edges))
	for _, e := range d.edges {
		if dep := l.index[e.to]; dep != nil {
			deps = append(deps, dep)
		} else {
			d.loose = append(d.loose, e)
		}
	}
	slices.SortFunc(deps, func(a, b *Output) int { return a.at - b.at })
	deps = slices.Compact(deps)
	refs := refsOf(deps)
	for _, o := range d.owns {
		o.Version, o.Deps, o.deps = d.def.Version, refs, deps
		if len(d.targets) > 0 {
			o.Target = "package-" + o.Ref.Name
		}
	}
}

// finish makes the graph of the sound definitions.
func (l *loader) finish() *Graph {
	for _, d := range l.drafts {
		for _, e := range d.loose {
			if l.mentioning(e.to) == nil {
				d.fail(containerfileName, problem{e.line, l.unknown(e.to)})
			}
		}
	}
	l.reportCycles(&Graph{outputs: l.outputs, index: l.index})
	g := &Graph{broken: l.findBroken(), index: l.index, skipped: l.skipped, links: l.links, folders: l.folders}
	if len(g.broken) > 0 {
		l.removeBroken(g)
	}
	g.outputs = l.outputs
	g.dependents = sync.OnceValue(g.reverse)
	g.definitions = make([]*Definition, 0, len(l.drafts))
	for _, d := range l.drafts {
		if d.broken == nil {
			d.def.at = len(g.definitions)
			g.definitions = append(g.definitions, d.def)
		}
	}
	g.warnings = l.allWarnings()
	return g
}

func (l *loader) reportCycles(g *Graph) {
	for _, path := range findCycles(g) {
		d := l.owner(path[0])
		line := 0
		if i := slices.IndexFunc(d.edges, func(e edge) bool { return e.to == path[1] }); i >= 0 {
			line = d.edges[i].line
		}
		d.fail(containerfileName, problem{line, &CycleError{Path: path, Kind: "dependencies"}})
	}
}
