package graph

import (
	"context"
	"slices"

	"codeberg.org/stagex/sx/cache/pack"
)

// Memory keeps what Load learnt of definitions without errors from one run to the next.
type Memory interface {
	// Recall returns the value that Remember got for the definition folder dir, if
	// nothing in it but fetch has changed since. Several goroutines call it.
	Recall(dir string) (value string, ok bool)
	// Remember is called with a value made by reading d, with its two files, after Recall
	// returned nothing for its folder. Several goroutines call it.
	Remember(d *Definition, value string)
	// Forget makes Recall return nothing for a folder.
	Forget(dir string)
}

// recall fills d from memory and reports whether it could.
func (l *loader) recall(d *draft) bool {
	if l.memory == nil {
		return false
	}
	value, ok := l.memory.Recall(d.def.Dir)
	if !ok {
		return false
	}
	if !d.decode(value) {
		l.memory.Forget(d.def.Dir)
		*d = draft{def: &Definition{Stage: d.def.Stage, Name: d.def.Name, Dir: d.def.Dir}}
		return false
	}
	return true
}

// remember gives the memory what was read of definitions that have no errors of their
// own.
func (l *loader) remember(ctx context.Context) {
	wasRead := func(d *draft) bool { return d.recalled == nil && len(d.errs) == 0 && !d.unsure }
	if l.memory == nil || !slices.ContainsFunc(l.drafts, wasRead) {
		return
	}
	l.each(ctx, func(d *draft) {
		if wasRead(d) {
			l.memory.Remember(d.def, d.encode())
		}
	})
}

// forgetOutdated forgets definitions that were remembered with another version than the
// one that version_from leads to now: the version decides sources and edges.
func (l *loader) forgetOutdated() (any bool) {
	for _, d := range l.drafts {
		if d.recalled != nil && d.recalled.version != d.def.Version {
			l.memory.Forget(d.def.Dir)
			any = true
		}
	}
	return any
}

// forgetWrong forgets definitions that were remembered and have errors now, because
// another definition changed: their errors are found by reading the files.
func (l *loader) forgetWrong() (any bool) {
	if l.memory == nil {
		return false
	}
	for _, d := range l.drafts {
		if d.recalled != nil && (len(d.errs) > 0 || d.unsure) {
			l.memory.Forget(d.def.Dir)
			any = true
		}
	}
	return any
}

// recalled marks a draft that was not read.
type recalled struct{ version string }

// usualSize is what encode makes of most definitions, in bytes.
const usualSize = 512

// encode packs all that Load learnt of d.
func (d *draft) encode() string {
	p := make(pack.Packer, 0, usualSize)
	from := d.manifest.Package.VersionFrom
	p.Bool(from != nil)
	if from != nil {
		p.Text(*from)
	}
	def := d.def
	p.Text(def.Version, def.Description, def.License, def.Website)
	p.List(def.Platforms)
	p.List(d.targets)
	p.Uint(uint64(len(def.Outputs)))
	for _, r := range def.Outputs {
		p.Text(r.Name)
	}
	p.Uint(uint64(len(def.Sources)))
	for _, s := range def.Sources {
		p.Text(s.Key, s.File, s.Path, string(s.Hash[:]), s.Version, s.GitSHA, s.Format, s.ArgFile)
		p.List(s.Mirrors)
	}
	p.List(def.UnknownKeys)
	p.Uint(uint64(len(d.notes)))
	for _, n := range d.notes {
		p.Uint(uint64(n.kind))
		p.Uint(uint64(n.line))
		p.Text(n.text)
	}
	p.Uint(uint64(len(d.edges)))
	for _, e := range d.edges {
		p.Text(e.to.Stage, e.to.Name)
		p.Uint(uint64(e.line))
	}
	p.Uint(uint64(len(def.Images)))
	for _, i := range def.Images {
		p.Text(i.Name, i.Host, i.Repository, i.Digest, i.Platform)
		p.Uint(uint64(i.Line))
	}
	return string(p)
}

// decode is the inverse of encode. It reports false for text that encode did not make; d
// is undefined then.
func (d *draft) decode(value string) bool {
	p := pack.Unpacker{Rest: value}
	d.manifest = &manifest{}
	if p.Bool() {
		from := p.Text()
		d.manifest.Package.VersionFrom = &from
	}
	def := d.def
	def.Version, def.Description, def.License, def.Website = p.Text(), p.Text(), p.Text(), p.Text()
	d.recalled = &recalled{version: def.Version}
	if d.manifest.Package.VersionFrom != nil {
		def.Version = ""
	}
	def.Platforms, d.targets = p.List(), p.List()
	def.Outputs = make([]Ref, p.Count())
	for i := range def.Outputs {
		def.Outputs[i] = Ref{def.Stage, p.Text()}
	}
	def.Sources = sources(&p)
	def.UnknownKeys = p.List()
	d.notes = make([]note, p.Count())
	for i := range d.notes {
		d.notes[i] = note{noteKind(p.Uint()), int(p.Uint()), p.Text()}
	}
	d.edges = make([]edge, p.Count())
	for i := range d.edges {
		d.edges[i] = edge{Ref{p.Text(), p.Text()}, int(p.Uint())}
	}
	def.Images = images(&p)
	return p.Done()
}

func images(p *pack.Unpacker) []Image {
	n := p.Count()
	if n == 0 {
		return nil
	}
	list := make([]Image, n)
	for i := range list {
		list[i] = Image{p.Text(), p.Text(), p.Text(), p.Text(), p.Text(), int(p.Uint())}
	}
	return list
}

func sources(p *pack.Unpacker) []Source {
	n := p.Count()
	if n == 0 {
		return nil
	}
	list := make([]Source, n)
	for i := range list {
		s := &list[i]
		s.Key, s.File, s.Path = p.Text(), p.Text(), p.Text()
		copy(s.Hash[:], p.Text())
		s.Version, s.GitSHA, s.Format, s.ArgFile = p.Text(), p.Text(), p.Text(), p.Text()
		s.Mirrors = p.List()
	}
	return list
}
