package graph

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/BurntSushi/toml"
)

// manifest is package.toml as written, nothing expanded. A pointer tells a key
// that is there but empty from one that is not there.
//
// Source: upstream's package.toml(5) and src/common.py.
type manifest struct {
	Package struct {
		Name        *string  `toml:"name"`
		Version     *string  `toml:"version"`
		VersionFrom *string  `toml:"version_from"`
		Description string   `toml:"description"`
		License     string   `toml:"license"`
		Website     string   `toml:"website"`
		Subpackages []string `toml:"subpackages"`
		Platforms   []string `toml:"platforms"`
	} `toml:"package"`
	Sources map[string]manifestSource `toml:"sources"`

	data []byte
}

type manifestSource struct {
	Hash    *string  `toml:"hash"`
	Version *string  `toml:"version"`
	File    *string  `toml:"file"`
	Format  *string  `toml:"format"`
	GitSHA  *string  `toml:"git_sha"`
	Mirrors []string `toml:"mirrors"`
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

// parseManifest checks syntax, types and the names of keys; a nil manifest
// comes with the problems that stopped it.
func parseManifest(data []byte) (*manifest, []problem) {
	m := &manifest{data: data}
	meta, err := toml.Decode(string(data), m)
	// Into a map the decoder takes values of other types too, and drops them.
	if kind := meta.Type("sources"); err == nil && (kind == "" || kind == "Hash") {
		return m, m.checkKeys(meta.Keys())
	}
	var syntax toml.ParseError
	if errors.As(err, &syntax) {
		return nil, []problem{syntaxProblem(syntax)}
	}
	// The types are wrong, which the decoder says without a position.
	var values map[string]any
	if meta, err = toml.Decode(string(data), &values); err != nil {
		return nil, []problem{{0, err}}
	}
	problems := append(m.checkKeys(meta.Keys()), m.checkTypes(values)...)
	return nil, problems
}

func syntaxProblem(err toml.ParseError) problem {
	if err.LastKey != "" {
		return problemf(err.Position.Line, "reading %q: %s", err.LastKey, err.Message)
	}
	return problemf(err.Position.Line, "%s", err.Message)
}

// checkKeys looks at the keys as written, because the decoder also takes them
// in other cases. Below an unknown key nothing more is reported.
func (m *manifest) checkKeys(keys []toml.Key) []problem {
	var problems []problem
	reported := make(map[string]bool)
	for _, key := range keys {
		n, known := unknownPart(key)
		if n == 0 || reported[key[:n].String()] {
			continue
		}
		reported[key[:n].String()] = true
		line := cmp.Or(m.line(key[:n]...), m.line(key...))
		problems = append(problems, problemf(line, "unknown key %q%s", key[:n], didYouMean(suggest(key[n-1], known))))
	}
	return problems
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

// line finds the line of a key by decoding again down to it: only the decoder
// knows where keys are, and only its errors say so. 0 when it is not there.
func (m *manifest) line(key ...string) int {
	var top map[string]toml.Primitive
	meta, err := toml.Decode(string(m.data), &top)
	if err != nil {
		return 0
	}
	for i, name := range key {
		value, ok := top[name]
		if !ok {
			return 0
		}
		if i == len(key)-1 {
			var here toml.ParseError
			errors.As(meta.PrimitiveDecode(value, new(marker)), &here)
			return here.Position.Line
		}
		top = nil
		if meta.PrimitiveDecode(value, &top) != nil {
			return 0
		}
	}
	return 0
}

// marker makes the decoder say where it is.
type marker struct{}

var _ toml.Unmarshaler = (*marker)(nil)

func (*marker) UnmarshalTOML(any) error { return errors.New("here") }

// keys are the keys of [sources], sorted.
func (m *manifest) keys() []string { return slices.Sorted(maps.Keys(m.Sources)) }
