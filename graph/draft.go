package graph

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// draft is a definition while it is loaded. One goroutine at a time uses it.
type draft struct {
	def      *Definition
	read     bool   // nothing is left to read
	skip     string // why it is skipped, for a warning; hidden: no warning
	recalled *recalled
	manifest *manifest
	file     *containerfile
	targets  []string // stages of the Containerfile that are outputs; none means the last
	edges    []edge
	owns     []*Output
	loose    []edge // to unknown outputs
	version  progress
	errs     []*FileError
	late     []*FileError // found by resolve
	resolved bool
	notes    []note
	broken   *Broken

	versionOwner *draft // the definition whose version it takes
	unsure       bool   // that version is unknown, so errors that depend on it are not reported
}

// note is a warning about a line of package.toml.
type note struct {
	kind noteKind
	line int
	text string
}

type noteKind int

const (
	noteUnknown noteKind = iota // a key
	noteNewer                   // syntax that upstream's TOML parser refuses
)

// maxErrors bounds the errors that are reported of one definition.
const maxErrors = 20

// hidden is the skip of a folder that does not look like a definition at all.
const hidden = "hidden"

// refusedVersion replaces a version that was reported, so that what depends on it is
// still checked and not reported as missing.
const refusedVersion = "0"

var platformPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`) })

// fail adds problems of one of the draft's files.
func (d *draft) fail(file string, problems ...problem) {
	for _, p := range problems {
		d.failAt(d.def.Dir+"/"+file, p)
	}
}

func (d *draft) failAt(path string, p problem) {
	switch n := len(d.errs); {
	case n < maxErrors:
		d.errs = append(d.errs, &FileError{File: path, Line: p.line, Err: p.err})
	case n == maxErrors:
		d.errs = append(d.errs, &FileError{File: path, Line: p.line, Err: fmt.Errorf("more than %d errors before it", maxErrors)})
	}
}

// refuse adds a problem of a key of [package].
func (d *draft) refuse(key, format string, args ...any) {
	d.fail(manifestName, problemf(d.manifest.line("package", key), format, args...))
}

// describe copies what package.toml says by itself into the definition.
func (d *draft) describe() {
	if d.manifest == nil {
		return
	}
	for _, k := range d.manifest.unknown {
		d.def.UnknownKeys = append(d.def.UnknownKeys, k.key)
		d.notes = append(d.notes, note{noteUnknown, k.line, fmt.Sprintf("unknown key %q, which changes nothing in what sx builds%s", k.key, k.near)})
	}
	for _, n := range d.manifest.file.Newer {
		d.notes = append(d.notes, note{noteNewer, n.Line, n.Text})
	}
	p := d.manifest.Package
	d.def.Description, d.def.License, d.def.Website = p.Description, p.License, p.Website
	switch {
	case p.Name == nil:
		d.fail(manifestName, problemf(d.manifest.line("package"), "name is missing from [package]"))
	case *p.Name != d.def.Name:
		d.refuse("name", "name %q: want the folder's, %q", *p.Name, d.def.Name)
	}
	d.readPlatforms(p.Platforms)
	d.readVersion(p.Version, p.VersionFrom)
	d.readOutputs(p.Subpackages)
}

func (d *draft) readPlatforms(platforms []string) {
	for i, p := range platforms {
		switch {
		case !platformPattern().MatchString(p):
			d.refuse("platforms", "platform %q: want <os>/<architecture>, such as %s", p, DefaultPlatform)
		case slices.Contains(platforms[:i], p):
			d.refuse("platforms", "platform %q: named twice", p)
		}
	}
	d.def.Platforms = platforms
}

func (d *draft) readVersion(own, from *string) {
	if own == nil {
		return
	}
	if from != nil {
		d.refuse("version_from", "version_from %q: there is a version too", *from)
	}
	d.def.Version = *own
	if err := checkVersion(*own); err != nil {
		d.refuse("version", "%w", err)
		d.def.Version = refusedVersion
	}
}

// readOutputs names the outputs: the subpackages, or the definition itself.
//
// Source: upstream's src/targets.py, init_packages.
func (d *draft) readOutputs(subpackages []string) {
	names := subpackages
	if len(subpackages) == 0 {
		names = []string{d.def.Name}
	}
	for i, name := range names {
		r := Ref{Stage: d.def.Stage, Name: name}
		err := checkComponent(r.String())
		switch {
		case err != nil && len(subpackages) == 0:
			d.failAt(d.def.Dir, problemf(0, "output %q: %w", r, err))
		case err != nil:
			d.refuse("subpackages", "subpackage %q: %w", name, err)
		case slices.Contains(names[:i], name):
			d.refuse("subpackages", "subpackage %q: named twice", name)
		default:
			d.def.Outputs = append(d.def.Outputs, r)
		}
	}
	slices.SortFunc(d.def.Outputs, Ref.Compare)
	for _, name := range subpackages {
		d.targets = append(d.targets, "package-"+name)
	}
}

// resolve checks what depends on the definition's version: sources, build
// arguments, references. It frees the parsed files, which no later step reads.
func (d *draft) resolve() {
	if d.manifest == nil || d.recalled != nil || d.resolved {
		return
	}
	earlier := d.errs
	d.errs = nil
	d.readSources()
	if d.file != nil {
		d.checkTargets()
		edges, images, problems := d.file.edges(d.def.buildArgs(), d.targets)
		d.edges, d.def.Images = edges, images
		d.fail(containerfileName, problems...)
	}
	d.errs, d.late, d.resolved = earlier, d.errs, true
	d.file, d.manifest.file, d.manifest.Sources = nil, nil, nil
}

// failLate adds the errors of resolve to the others, which may have been found after them.
func (d *draft) failLate() {
	for _, e := range d.late {
		d.failAt(e.File, problem{e.Line, e.Err})
	}
}

func (d *draft) readSources() {
	files := make(map[string]int) // by name: where among the sources
	keys := make(map[string]string)
	for _, key := range d.manifest.keys() {
		s, problems := readSource(d.manifest, d.def, key)
		if other, ok := keys[strings.ToUpper(key)]; ok {
			problems = append(problems, problemf(d.manifest.line("sources", key), "source %q: its build arguments are those of %q", key, other))
		}
		keys[strings.ToUpper(key)] = key
		if other, ok := files[s.File]; ok && s.File != "" && d.def.Sources[other].Hash != s.Hash {
			problems = append(problems, problemf(d.manifest.line("sources", key), "source %q: its file %q is also that of %q, with another hash", key, s.File, d.def.Sources[other].Key))
		}
		files[s.File] = len(d.def.Sources)
		d.def.Sources = append(d.def.Sources, s)
		d.fail(manifestName, problems...)
	}
}

// checkTargets looks for the stage of each subpackage.
func (d *draft) checkTargets() {
	var names []string
	for _, s := range d.file.stages {
		names = append(names, s.name)
	}
	for _, target := range d.targets {
		if !slices.Contains(names, target) {
			d.refuse("subpackages", "subpackage %q: the Containerfile has no stage %q%s",
				strings.TrimPrefix(target, "package-"), target, didYouMean(suggest(target, names)))
		}
	}
}
