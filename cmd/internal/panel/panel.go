package panel

import (
	"context"
	"maps"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// A Panel judges outputs by the tree's digests/, or by several other sources.
type Panel struct {
	sources []*source
	own     func() (verdict.History, error) // opens the tree's; nil if there are sources
	close   func()
}

// New returns a Panel for the named sources; without names, for the tree's digests/. A
// name is a branch, tag or commit of the tree's history, the https address of a
// <stage>.txt, or a folder (".", "./x", "/x"). Documents are fetched as userAgent. The
// caller calls Close.
func New(ctx context.Context, t *tree.Tree, userAgent string, names []string) (*Panel, error) {
	if len(names) == 0 {
		own, done := ownHistory(t)
		return &Panel{own: own, close: done}, nil
	}
	p := &Panel{}
	p.close = func() {
		for _, s := range p.sources {
			if s.past != nil {
				s.past.Close()
			}
		}
	}
	documents := fetch.NewDocuments(userAgent)
	defer documents.Close()
	for _, name := range names {
		s, err := openSource(ctx, t, documents, name)
		if err != nil {
			p.close()
			return nil, err
		}
		p.sources = append(p.sources, s)
	}
	return p, nil
}

// judges returns one judge per source; the last is for outputs that no source lists.
func (p *Panel) judges(v *tree.View) (judges []*verdict.Judge) {
	if len(p.sources) == 0 {
		return []*verdict.Judge{{View: v, Open: p.own}}
	}
	agreed := p.agreed()
	inputs := p.unsaid(v.Published)
	maps.Copy(inputs, agreed)
	for _, s := range p.sources {
		judges = append(judges, s.judge(v, inputs))
	}
	return append(judges, (&source{name: p.names()}).judge(v, agreed))
}

// agreed returns the digests of outputs whose digest is the same in all sources that
// list them.
func (p *Panel) agreed() cache.Published {
	all, split := cache.Published{}, map[string]bool{}
	for _, s := range p.sources {
		for name, d := range s.listed {
			if before, ok := all[name]; ok && before != d {
				split[name] = true
			}
			all[name] = d
		}
	}
	for name := range split {
		delete(all, name)
	}
	return all
}

// unsaid returns the tree's digests of the stages that no source mentions: a file for
// one stage does not replace the published digests of another.
func (p *Panel) unsaid(tree cache.Published) cache.Published {
	stage := func(output string) string { before, _, _ := strings.Cut(output, "-"); return before }
	said := map[string]bool{}
	for _, s := range p.sources {
		for name := range s.listed {
			said[stage(name)] = true
		}
	}
	listed := maps.Clone(tree)
	maps.DeleteFunc(listed, func(name string, _ oci.Digest) bool { return said[stage(name)] })
	if listed == nil {
		listed = cache.Published{}
	}
	return listed
}

// names lists the names of all sources.
func (p *Panel) names() string {
	var names []string
	for _, s := range p.sources {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// pick chooses from the verdicts of all judges on an output: one verdict if the sources
// that list it agree, else one per source.
func (p *Panel) pick(vs []verdict.Verdict) []verdict.Verdict {
	if len(p.sources) == 0 {
		return vs
	}
	name := vs[0].Ref.String()
	var listing []int
	digests := map[oci.Digest]bool{}
	for i, s := range p.sources {
		if d, ok := s.listed[name]; ok {
			listing = append(listing, i)
			digests[d] = true
		}
	}
	switch {
	case len(digests) > 1:
		var each []verdict.Verdict
		for _, i := range listing {
			each = append(each, vs[i])
		}
		return each
	case len(listing) == 0:
		return vs[len(p.sources):]
	}
	best := listing[0]
	var names []string
	for _, i := range listing {
		names = append(names, p.sources[i].name)
		if p.sources[best].past == nil && p.sources[i].past != nil {
			best = i // which can tell CHANGED from MISMATCH
		}
	}
	v := vs[best]
	v.Against = strings.Join(names, ", ")
	return []verdict.Verdict{v}
}

// Close closes the git histories that the panel opened.
func (p *Panel) Close() { p.close() }

// Verify hashes the blobs of refs and judges them. It calls each with every verdict.
func (p *Panel) Verify(ctx context.Context, v *tree.View, refs []graph.Ref, each func(verdict.Verdict)) (vs []verdict.Verdict, err error) {
	err = verdict.VerifyBy(ctx, p.judges(v), refs, func(all []verdict.Verdict) {
		for _, v := range p.pick(all) {
			vs = append(vs, v)
			each(v)
		}
	})
	return vs, err
}

// All judges refs by the digests of the last time that their blobs were hashed.
func (p *Panel) All(v *tree.View, refs []graph.Ref) (vs []verdict.Verdict) {
	judges := p.judges(v)
	if len(p.sources) == 0 {
		return judges[0].All(refs)
	}
	by := make([][]verdict.Verdict, len(judges))
	for i, j := range judges {
		by[i] = j.All(refs)
	}
	for n := range refs {
		one := make([]verdict.Verdict, len(by))
		for i := range by {
			one[i] = by[i][n]
		}
		vs = append(vs, p.pick(one)...)
	}
	return vs
}
