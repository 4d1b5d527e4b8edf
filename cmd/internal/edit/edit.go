package edit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// Tree is how a checkout is read.
type Tree struct {
	Read func(path string) ([]byte, error) // a file of the tree
	// Load reads the definitions as if the files had these contents.
	Load func(ctx context.Context, files map[string][]byte) (*graph.Graph, error)
}

// Edit is a change of package.toml files that is not written yet.
type Edit struct {
	Sources []Source // whose hashes have to be set
	Notes   []string // places to check by hand
	// Followers are definitions that take the version from this one: "pallet/rust".
	Followers []string

	tree   Tree
	dir    string // of the definition
	before map[string][]byte
	texts  map[string]*Text
}

// Source is a source of the tree as it will be, with the hash that it has to get.
type Source struct {
	graph.Source
	Dir string // of its definition
	Was string // the hash in package.toml; "" if there is none
}

// Name is "core/zlib: zlib", for messages.
func (s Source) Name() string {
	return path.Base(path.Dir(s.Dir)) + "/" + path.Base(s.Dir) + ": " + s.Key
}

// unknownHash stands for the hash of a source that has none yet.
var unknownHash = graph.Hash{}.String()

// begin reads the package.toml of a definition.
func (t Tree) begin(dir string) (*Edit, *Text, error) {
	e := &Edit{tree: t, dir: dir, before: map[string][]byte{}, texts: map[string]*Text{}}
	text, err := e.text(dir)
	return e, text, err
}

// text returns the text of a definition's package.toml, which it reads once.
func (e *Edit) text(dir string) (*Text, error) {
	name := dir + "/package.toml"
	if t := e.texts[name]; t != nil {
		return t, nil
	}
	data, err := e.tree.Read(name)
	if err != nil {
		return nil, err
	}
	t, err := ParseText(data)
	if err != nil {
		return nil, &graph.FileError{File: name, Err: err}
	}
	e.before[name], e.texts[name] = data, t
	return t, nil
}

// placeholders gives each source without a valid hash one, so that the definition can be
// loaded, and returns their keys.
func placeholders(t *Text) (keys []string, err error) {
	for _, key := range t.Table("sources") {
		hash, _ := t.String("sources", key, "hash")
		if _, wrong := graph.ParseHash(hash); wrong == nil && hash != unknownHash {
			continue
		}
		if err := t.Set(unknownHash, "sources", key, "hash"); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// load reads the tree with the texts as they are now. The definition must be sound.
func (e *Edit) load(ctx context.Context) (*graph.Graph, *graph.Definition, error) {
	files := map[string][]byte{}
	for name, t := range e.texts {
		data, err := t.Bytes()
		if err != nil {
			return nil, nil, &graph.FileError{File: name, Err: err}
		}
		files[name] = data
	}
	g, err := e.tree.Load(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	d, err := definition(g, e.dir)
	return g, d, err
}

// definition finds a sound definition by its folder.
func definition(g *graph.Graph, dir string) (*graph.Definition, error) {
	for _, d := range g.Definitions() {
		if d.Dir == dir {
			return d, nil
		}
	}
	for _, b := range g.Broken() {
		if b.Dir == dir {
			return nil, &graph.BrokenError{Broken: []*graph.Broken{b}}
		}
	}
	return nil, &graph.FileError{File: dir, Err: errors.New("is not a definition")}
}

// Hashes prepares new hashes for the sources of the definition in dir: those with the
// given keys, or all.
func (t Tree) Hashes(ctx context.Context, dir string, keys []string) (*Edit, error) {
	e, text, err := t.begin(dir)
	if err != nil {
		return nil, err
	}
	if _, err := placeholders(text); err != nil {
		return nil, &graph.FileError{File: dir + "/package.toml", Err: err}
	}
	_, d, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if !slices.ContainsFunc(d.Sources, func(s graph.Source) bool { return s.Key == key }) {
			return nil, noSource(d, key)
		}
	}
	for _, s := range d.Sources {
		if len(keys) == 0 || slices.Contains(keys, s.Key) {
			e.want(d, s, text)
		}
	}
	if len(e.Sources) == 0 {
		return nil, &graph.FileError{File: dir + "/package.toml", Err: errors.New("has no [sources]")}
	}
	return e, nil
}

func noSource(d *graph.Definition, key string) error {
	var has []string
	for _, s := range d.Sources {
		has = append(has, s.Key)
	}
	return &graph.FileError{File: d.Dir + "/package.toml", Err: fmt.Errorf("has no [sources.%s]; it has %s", key, strings.Join(has, ", "))}
}

func (e *Edit) want(d *graph.Definition, s graph.Source, text *Text) {
	was, _ := text.String("sources", s.Key, "hash")
	e.Sources = append(e.Sources, Source{s, d.Dir, was})
}

// SetHash sets the hash of Sources[i].
func (e *Edit) SetHash(i int, h graph.Hash) error {
	s := &e.Sources[i]
	text, err := e.text(s.Dir)
	if err != nil {
		return err
	}
	s.Hash = h
	return text.Set(h.String(), "sources", s.Key, "hash")
}

// Finish returns the files that change, by path, after the loader of package graph has
// read them: no definition of the edit may be broken, and each source has the hash that
// was set.
func (e *Edit) Finish(ctx context.Context) ([]File, error) {
	g, _, err := e.load(ctx)
	if err != nil {
		return nil, err
	}
	for _, want := range e.Sources {
		d, err := definition(g, want.Dir)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(d.Sources, func(s graph.Source) bool { return s.Key == want.Key })
		if i < 0 || d.Sources[i].Hash != want.Hash || want.Hash == (graph.Hash{}) {
			return nil, fmt.Errorf("edit: internal error: %s has another hash than was set", want.Name())
		}
	}
	return e.files()
}

func (e *Edit) files() (files []File, err error) {
	for name, t := range e.texts {
		t.changes = slices.DeleteFunc(t.changes, func(c change) bool { return c.Now == unknownHash }) // of sources that were not asked for
		after, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		if string(after) == string(e.before[name]) {
			continue
		}
		f := File{Path: name, Before: e.before[name], After: after}
		for _, c := range t.changes {
			c.Path = name
			f.Changes = append(f.Changes, c.Change)
		}
		slices.SortFunc(f.Changes, func(a, b Change) int { return a.Line - b.Line })
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}
