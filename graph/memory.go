package graph

import (
	"context"
	"encoding/binary"
	"slices"
)

// Memory keeps from one run to the next what Load learnt of definitions in which
// nothing is wrong.
type Memory interface {
	// Recall returns what Remember was given for the definition folder dir, when
	// everything in it but fetch is what it was then. Several goroutines call it.
	Recall(dir string) (learnt string, ok bool)
	// Remember is called for a folder of which Recall knew nothing, with what was
	// learnt by reading it since. Several goroutines call it.
	Remember(dir, learnt string)
	// Forget makes Recall know nothing of a folder.
	Forget(dir string)
}

// recall fills d from memory and reports whether it could.
func (l *loader) recall(d *draft) bool {
	if l.memory == nil {
		return false
	}
	learnt, ok := l.memory.Recall(d.def.Dir)
	if !ok {
		return false
	}
	if !d.decode(learnt) {
		l.memory.Forget(d.def.Dir)
		*d = draft{def: &Definition{Stage: d.def.Stage, Name: d.def.Name, Dir: d.def.Dir}}
		return false
	}
	return true
}

// remember tells the memory of what was read of definitions that are right in
// themselves.
func (l *loader) remember(ctx context.Context) {
	wasRead := func(d *draft) bool { return d.recalled == nil && len(d.errs) == 0 && !d.unsure }
	if l.memory == nil || !slices.ContainsFunc(l.drafts, wasRead) {
		return
	}
	l.each(ctx, func(d *draft) {
		if wasRead(d) {
			l.memory.Remember(d.def.Dir, d.encode())
		}
	})
}

// forgetOutdated finds the definitions that were learnt under another version than
// the one that version_from now leads to: it decides sources and edges.
func (l *loader) forgetOutdated() (any bool) {
	for _, d := range l.drafts {
		if d.recalled != nil && d.recalled.version != d.def.Version {
			l.memory.Forget(d.def.Dir)
			any = true
		}
	}
	return any
}

// forgetWrong finds the definitions that were learnt and are wrong now, because
// another changed: what is wrong is told from the files themselves.
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

// recalled says of a draft that it was not read.
type recalled struct{ version string }

// encode packs all that Load learnt of d: texts with their length before them, and
// lengths as varints.
func (d *draft) encode() string {
	var p packer
	from := d.manifest.Package.VersionFrom
	p.flag(from != nil)
	if from != nil {
		p.text(*from)
	}
	def := d.def
	p.text(def.Version, def.Description, def.License, def.Website)
	p.list(def.Platforms)
	p.list(d.targets)
	p.number(len(def.Outputs))
	for _, r := range def.Outputs {
		p.text(r.Name)
	}
	p.number(len(def.Sources))
	for _, s := range def.Sources {
		p.text(s.Key, s.File, s.Path, string(s.Hash[:]), s.Version, s.GitSHA, s.Format, s.ArgFile)
		p.list(s.Mirrors)
	}
	p.list(def.UnknownKeys)
	p.number(len(d.notes))
	for _, n := range d.notes {
		p.number(int(n.kind))
		p.number(n.line)
		p.text(n.text)
	}
	p.number(len(d.edges))
	for _, e := range d.edges {
		p.text(e.to.Stage, e.to.Name)
		p.number(e.line)
	}
	p.number(len(def.Images))
	for _, i := range def.Images {
		p.text(i.Name, i.Host, i.Repository, i.Digest, i.Platform)
		p.number(i.Line)
	}
	return string(p)
}

// decode is the reverse of encode. It reports false for what encode did not make, of
// which d may have anything then.
func (d *draft) decode(learnt string) bool {
	p := unpacker{rest: learnt}
	d.manifest = &manifest{}
	if p.flag() {
		from := p.text()
		d.manifest.Package.VersionFrom = &from
	}
	def := d.def
	def.Version, def.Description, def.License, def.Website = p.text(), p.text(), p.text(), p.text()
	d.recalled = &recalled{version: def.Version}
	if d.manifest.Package.VersionFrom != nil {
		def.Version = ""
	}
	def.Platforms, d.targets = p.list(), p.list()
	def.Outputs = make([]Ref, p.count())
	for i := range def.Outputs {
		def.Outputs[i] = Ref{def.Stage, p.text()}
	}
	def.Sources = sources(&p)
	def.UnknownKeys = p.list()
	d.notes = make([]note, p.count())
	for i := range d.notes {
		d.notes[i] = note{noteKind(p.number()), p.number(), p.text()}
	}
	d.edges = make([]edge, p.count())
	for i := range d.edges {
		d.edges[i] = edge{Ref{p.text(), p.text()}, p.number()}
	}
	def.Images = images(&p)
	return p.rest == "" && !p.failed
}

func images(p *unpacker) []Image {
	n := p.count()
	if n == 0 {
		return nil
	}
	list := make([]Image, n)
	for i := range list {
		list[i] = Image{p.text(), p.text(), p.text(), p.text(), p.text(), p.number()}
	}
	return list
}

func sources(p *unpacker) []Source {
	n := p.count()
	if n == 0 {
		return nil
	}
	list := make([]Source, n)
	for i := range list {
		s := &list[i]
		s.Key, s.File, s.Path = p.text(), p.text(), p.text()
		copy(s.Hash[:], p.text())
		s.Version, s.GitSHA, s.Format, s.ArgFile = p.text(), p.text(), p.text(), p.text()
		s.Mirrors = p.list()
	}
	return list
}

type packer []byte

func (p *packer) number(n int) { *p = binary.AppendUvarint(*p, uint64(n)) }

func (p *packer) text(texts ...string) {
	for _, text := range texts {
		p.number(len(text))
		*p = append(*p, text...)
	}
}

func (p *packer) flag(b bool) {
	if b {
		p.number(1)
	} else {
		p.number(0)
	}
}

func (p *packer) list(texts []string) {
	p.number(len(texts))
	p.text(texts...)
}

// unpacker takes back what packer put. Once it failed it yields zeros.
type unpacker struct {
	rest   string
	failed bool
}

func (p *unpacker) number() int {
	n, shift := 0, 0
	for i := 0; i < len(p.rest) && shift < 28; i++ {
		n |= int(p.rest[i]&0x7f) << shift
		if shift += 7; p.rest[i] < 0x80 {
			p.rest = p.rest[i+1:]
			return n
		}
	}
	p.rest, p.failed = "", true
	return 0
}

// count is of what takes at least a byte each.
func (p *unpacker) count() int {
	n := p.number()
	if n > len(p.rest) {
		p.rest, p.failed = "", true
		return 0
	}
	return n
}

func (p *unpacker) text() string {
	n := p.count()
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

func (p *unpacker) flag() bool { return p.number() == 1 }

func (p *unpacker) list() []string {
	n := p.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = p.text()
	}
	return list
}
