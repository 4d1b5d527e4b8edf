package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/BurntSushi/toml"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// manifest is package.toml as written, nothing expanded. A pointer tells a key
// that is there but empty from one that is not there.
//
// Source: upstream's package.toml(5) and src/common.py.
type manifest struct {
	Package manifestPackage
	Sources map[string]manifestSource

	file    *tomlscan.File // nil of one that was recalled
	unknown []unknownKey
}

type manifestPackage struct {
	Name        *string
	Version     *string
	VersionFrom *string
	Description string
	License     string
	Website     string
	Subpackages []string
	Platforms   []string
}

type manifestSource struct {
	Hash    *string
	Version *string
	File    *string
	Format  *string
	GitSHA  *string
	Mirrors []string
}

// unknownKey is a key that package.toml(5) does not have.
type unknownKey struct {
	key  string // "package.versoin"
	line int
	near string // what may have been meant, "" where nothing is near
}

var (
	packageKeys = []string{"name", "version", "version_from", "description", "license", "website", "subpackages", "platforms"}
	sourceKeys  = []string{"hash", "version", "file", "format", "git_sha", "mirrors"}
)

// problem is an error with the line of the file at hand, 0 for the whole file.
type problem struct {
	line int
	err  error
}

func problemf(line int, format string, args ...any) problem {
	return problem{line, fmt.Errorf(format, args...)}
}

// parseManifest checks syntax and types; a nil manifest comes with the problems
// that stopped it. Keys count as they are written: one in another case is another
// key.
func parseManifest(data []byte) (*manifest, []problem) {
	f, err := tomlscan.Parse(data)
	var refused *tomlscan.Error
	if errors.As(err, &refused) {
		return nil, []problem{{refused.Line, err}}
	}
	m := &manifest{file: f}
	m.findUnknown()
	p := reader{file: f}
	p.table(f.Values["package"], []string{"package"}, map[string]any{
		"name": &m.Package.Name, "version": &m.Package.Version, "version_from": &m.Package.VersionFrom,
		"description": &m.Package.Description, "license": &m.Package.License, "website": &m.Package.Website,
		"subpackages": &m.Package.Subpackages, "platforms": &m.Package.Platforms,
	})
	m.Sources = p.sources(f.Values["sources"])
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return m, nil
}

// findUnknown reports nothing more below an unknown key.
func (m *manifest) findUnknown() {
	for _, k := range m.file.Keys {
		path := k.Path()
		if n, known := unknownPart(path); n == len(path) {
			m.unknown = append(m.unknown, unknownKey{path.String(), k.Line, didYouMean(suggest(k.Name, known))})
		}
	}
}

// unknownPart is how much of key it takes to say that it is unknown, and what is
// known there; 0 for a key that is known.
func unknownPart(key toml.Key) (int, []string) {
	levels := [][]string{{"package", "sources"}, packageKeys}
	if key[0] == "sources" {
		levels = [][]string{{"package", "sources"}, nil, sourceKeys}
	}
	for i, name := range key {
		switch {
		case i == len(levels):
			return i + 1, nil
		case levels[i] != nil && !slices.Contains(levels[i], name):
			return i + 1, levels[i]
		}
	}
	return 0, nil
}

// line is 0 for a key that is not there.
func (m *manifest) line(key ...string) int {
	if m.file == nil {
		return 0
	}
	return m.file.Line(key...)
}

// keys are the keys of [sources], sorted.
func (m *manifest) keys() []string { return slices.Sorted(maps.Keys(m.Sources)) }
