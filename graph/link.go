package graph

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// progress of a definition's version.
type progress int

const (
	unresolved progress = iota
	resolving
	resolved
)

// maxSuggested bounds the time spent on suggestions in a tree full of errors.
const maxSuggested = 50

// link finds out who owns each output and resolves version_from.
func (l *loader) link() {
	l.outputs, l.index = nil, make(map[Ref]*Output, len(l.drafts))
	l.drafts = slices.DeleteFunc(l.drafts, func(d *draft) bool {
		switch d.skip {
		case "":
		case hidden:
			l.pass(d.def.Dir, "has no Containerfile and no package.toml", d.outputs()...)
		default:
			l.warn("%s "+d.skip+": skipped", d.def.Dir)
			l.pass(d.def.Dir, d.skip, d.outputs()...)
		}
		return d.skip != ""
	})
	for i, d := range l.drafts {
		d.def.at = i
		for _, r := range d.outputs() {
			if other := l.index[r]; other != nil {
				d.refuse("subpackages", "output %q: already that of %s", r, other.Definition.Dir)
				continue
			}
			l.index[r] = &Output{Ref: r, Definition: d.def, name: r.String()}
			l.outputs = append(l.outputs, l.index[r])
			d.owns = append(d.owns, l.index[r])
		}
	}
	for _, d := range l.drafts {
		l.resolveVersion(d)
	}
}

// owner is the draft of an output, or nil.
func (l *loader) owner(r Ref) *draft {
	if o := l.index[r]; o != nil {
		return l.drafts[o.Definition.at]
	}
	return nil
}

// outputs are the definition's, or, where package.toml cannot be read, the one
// that it most likely has: what depends on it is not at fault.
func (d *draft) outputs() []Ref {
	if d.manifest == nil {
		return []Ref{{Stage: d.def.Stage, Name: d.def.Name}}
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
	case owner == nil || owner.manifest == nil:
	case owner.version == resolving:
		owner.refuse("version_from", "%w", l.versionCycle(owner))
	default:
		l.resolveVersion(owner)
		d.def.Version = owner.def.Version
		d.def.VersionFrom, _ = ParseRef(*d.manifest.Package.VersionFrom) // versionOwner parsed it
		if d.def.Version == "" {
			d.refuse("version_from", "version_from: %q has no version", *d.manifest.Package.VersionFrom)
		}
	}
	if d.def.Version == "" {
		d.def.Version = refusedVersion
	}
}

// versionOwner is nil for an output whose definition could not be read.
func (l *loader) versionOwner(from string) (*draft, error) {
	r, err := ParseRef(from)
	if err != nil {
		return nil, err
	}
	owner := l.owner(r)
	if owner == nil && !l.mayBeHidden(r) {
		return nil, l.unknown(r)
	}
	return owner, nil
}

// versionCycle walks from d along version_from until it is back.
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

// mayBeHidden reports whether r is named in a package.toml that could not be
// read: then that is what is wrong.
func (l *loader) mayBeHidden(r Ref) bool {
	return slices.ContainsFunc(l.drafts, func(d *draft) bool {
		return d.manifest == nil && d.def.Stage == r.Stage &&
			strings.Contains(string(d.def.PackageTOML), strconv.Quote(r.Name))
	})
}

func (l *loader) unknown(r Ref) error {
	e := &UnknownDependencyError{Name: r.String(), Skipped: cmp.Or(l.skipped[r], l.skipped[Ref{Stage: r.Stage}])}
	if e.Skipped != "" {
		return e
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

// connect gives the outputs of d what they need. All outputs of a family have the
// same, as upstream has it.
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

// finish makes the graph, or tells all that is wrong.
func (l *loader) finish() (*Graph, error) {
	slices.Sort(l.warnings)
	g := &Graph{outputs: l.outputs, index: l.index, warnings: l.warnings, skipped: l.skipped}
	g.dependents = sync.OnceValue(g.turn)
	for _, d := range l.drafts {
		g.definitions = append(g.definitions, d.def)
		for _, e := range d.loose {
			if !l.mayBeHidden(e.to) {
				d.fail(containerfileName, problem{e.line, l.unknown(e.to)})
			}
		}
	}
	l.reportCycles(g)
	var errs []*FileError
	for _, d := range l.drafts {
		errs = append(errs, d.errs...)
	}
	if err := joinErrors(errs); err != nil {
		return nil, err
	}
	return g, nil
}

func (l *loader) reportCycles(g *Graph) {
	for _, path := range g.cycles() {
		d := l.owner(path[0])
		line := 0
		if i := slices.IndexFunc(d.edges, func(e edge) bool { return e.to == path[1] }); i >= 0 {
			line = d.edges[i].line
		}
		d.fail(containerfileName, problem{line, &CycleError{Path: path, Kind: "dependencies"}})
	}
}
