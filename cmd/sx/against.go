package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/history"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/graph"
)

// againstFlag names sources of published digests that take the place of the tree's.
type againstFlag []string

func (f *againstFlag) addFlag(set *pflag.FlagSet) {
	set.StringArrayVar((*[]string)(f), "against", nil, "published digests of a `SOURCE` instead of the tree's: a branch or tag, an https URL of a <stage>.txt, a folder (./x, /x); may be repeated")
}

// A source is published digests from elsewhere than the tree's digests/.
type source struct {
	name   string
	listed cache.Published
	past   *history.History // of the commit that published them; nil for none
}

// A panel judges outputs by several sources: the tree's digests/, or those of --against.
type panel struct {
	sources []*source
	judges  []*verdict.Judge // one for each source, and the last for what no source lists
	close   func()
}

// newPanel returns the tree's own judge, or one for each source. Close it after use.
func newPanel(ctx context.Context, t *tree.Tree, set settings.Settings, names []string) (*panel, error) {
	if len(names) == 0 {
		j, done := newJudge(t)
		return &panel{judges: []*verdict.Judge{j}, close: done}, nil
	}
	p := &panel{}
	p.close = func() {
		for _, s := range p.sources {
			if s.past != nil {
				s.past.Close()
			}
		}
	}
	documents := fetch.NewDocuments(userAgent(set))
	defer documents.Close()
	for _, name := range names {
		s, err := openSource(ctx, t, documents, name)
		if err != nil {
			p.close()
			return nil, err
		}
		p.sources = append(p.sources, s)
	}
	agreed := p.agreed()
	inputs := p.unsaid(t.Published)
	maps.Copy(inputs, agreed)
	for _, s := range p.sources {
		p.judges = append(p.judges, s.judge(t, inputs))
	}
	p.judges = append(p.judges, (&source{name: p.names()}).judge(t, agreed))
	return p, nil
}

// judge is by what s lists, and by inputs, of which s says nothing.
func (s *source) judge(t *tree.Tree, inputs cache.Published) *verdict.Judge {
	listed := maps.Clone(inputs)
	maps.Copy(listed, s.listed)
	j := &verdict.Judge{Tree: t, Against: &verdict.Against{Source: s.name, Published: listed}}
	if s.past == nil {
		j.Open = func() (verdict.History, error) {
			return nil, fmt.Errorf("%w: %s is not a commit of the tree's history", history.ErrNoHistory, s.name)
		}
		return j
	}
	j.Open = func() (verdict.History, error) { return published{s.past}, nil }
	return j
}

// agreed is what at least one source lists, and none lists otherwise.
func (p *panel) agreed() cache.Published {
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

// unsaid is what the tree lists of stages that no source has a line of: a file of one stage says nothing of inputs of
// another.
func (p *panel) unsaid(tree cache.Published) cache.Published {
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

// names are those of all sources.
func (p *panel) names() string {
	var names []string
	for _, s := range p.sources {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// pick takes what is to be said of an output from the verdicts of all judges: one if the sources that list it agree, else
// one of each.
func (p *panel) pick(vs []verdict.Verdict) []verdict.Verdict {
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

// verify hashes the blobs of refs and judges them; each is called with every verdict.
func (p *panel) verify(ctx context.Context, t *tree.Tree, refs []graph.Ref, each func(verdict.Verdict)) (vs []verdict.Verdict, err error) {
	err = verdict.VerifyBy(ctx, t, p.judges, refs, func(all []verdict.Verdict) {
		for _, v := range p.pick(all) {
			vs = append(vs, v)
			each(v)
		}
	})
	return vs, err
}

// all judges refs as they were last hashed.
func (p *panel) all(refs []graph.Ref) (vs []verdict.Verdict) {
	by := make([][]verdict.Verdict, len(p.judges))
	for i, j := range p.judges {
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

// openSource reads the digests of a source.
func openSource(ctx context.Context, t *tree.Tree, documents *fetch.Documents, name string) (*source, error) {
	s := &source{name: text.Field(name)}
	var err error
	switch {
	case strings.Contains(name, "://"):
		s.listed, err = digestsAtURL(ctx, documents, name)
	case name == "." || name == ".." || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../"):
		s.listed, err = digestsInFolder(name)
	default:
		s.past, s.listed, err = digestsAtRevision(t, name)
	}
	if err == nil && len(s.listed) == 0 {
		err = usagef("it lists no digest")
	}
	if err != nil {
		return nil, fmt.Errorf("--against %s: %w", s.name, err)
	}
	return s, nil
}

// digestsAtURL reads a file of digests/ as a forge serves it raw. Its name says the stage.
func digestsAtURL(ctx context.Context, documents *fetch.Documents, address string) (cache.Published, error) {
	u, err := url.Parse(address)
	if err := errors.Join(err, fetch.CheckDocumentURL(address)); err != nil {
		return nil, usageError{err}
	}
	stage, ok := strings.CutSuffix(path.Base(u.Path), ".txt")
	if !ok || stage == "" {
		return nil, usagef("want the address of a file <stage>.txt, such as https://example.org/digests/core.txt")
	}
	data, err := documents.Get(ctx, address)
	if err != nil {
		return nil, err
	}
	listed, err := cache.ParseDigests(bytes.NewReader(data), stage)
	if err != nil {
		return nil, usageError{err}
	}
	return listed, nil
}

// digestsInFolder reads a folder that has digests/, or is one.
func digestsInFolder(dir string) (cache.Published, error) {
	if _, err := os.Lstat(path.Join(dir, "digests")); errors.Is(err, fs.ErrNotExist) {
		if abs, err := os.Stat(dir); err == nil && abs.IsDir() {
			return digestsOfFiles(dir)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, usageError{err}
	}
	defer root.Close()
	listed, err := cache.LoadDigests(root.FS())
	if err != nil {
		return nil, usageError{err}
	}
	return listed, nil
}

// digestsOfFiles reads the files <stage>.txt of a folder.
func digestsOfFiles(dir string) (cache.Published, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, usageError{err}
	}
	defer root.Close()
	listed := cache.Published{}
	for _, stage := range graph.Stages {
		info, err := root.Stat(stage + ".txt")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !info.Mode().IsRegular() {
			return nil, usagef("%s.txt is not a regular file", stage)
		}
		f, err := root.Open(stage + ".txt")
		if err != nil {
			return nil, usageError{err}
		}
		one, err := cache.ParseDigests(f, stage)
		f.Close()
		if err != nil {
			return nil, usageError{err}
		}
		maps.Copy(listed, one)
	}
	return listed, nil
}

// digestsAtRevision reads what a branch, tag or commit of the tree's history published.
func digestsAtRevision(t *tree.Tree, name string) (*history.History, cache.Published, error) {
	h, err := history.OpenAt(t.Dir, name)
	if err != nil {
		if info, serr := os.Stat(name); serr == nil && info.IsDir() {
			err = fmt.Errorf("%w; if the folder is meant, say ./%s", err, name)
		}
		return nil, nil, usageError{err}
	}
	listed := cache.Published{}
	for _, stage := range graph.Stages {
		one, err := published{h}.Digests(stage)
		if err != nil {
			h.Close()
			return nil, nil, usageError{err}
		}
		maps.Copy(listed, one)
	}
	return h, listed, nil
}
