package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
// comes with the problem that stopped it.
func parseManifest(data []byte) (*manifest, []problem) {
	m := &manifest{data: data}
	meta, err := toml.Decode(string(data), m)
	if err != nil {
		return nil, []problem{tomlProblem(err)}
	}
	return m, m.checkKeys(meta.Keys())
}

func tomlProblem(err error) problem {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		return problem{0, err}
	}
	if parse.LastKey != "" {
		return problemf(parse.Position.Line, "reading %q: %s", parse.LastKey, parse.Message)
	}
	return problemf(parse.Position.Line, "%s", parse.Message)
}

// checkKeys looks at the keys as written, because the decoder also takes them
// in other cases. Below an unknown key nothing more is reported.
func (m *manifest) checkKeys(keys []toml.Key) []problem {
	var problems []problem
	var unknown []string
	for _, key := range keys {
		known := knownKeys(key)
		if known == nil || slices.Contains(known, key[len(key)-1]) {
			continue
		}
		name := key.String()
		if slices.ContainsFunc(unknown, func(u string) bool { return u == name || strings.HasPrefix(name, u+".") }) {
			continue
		}
		unknown = append(unknown, name)
		problems = append(problems, problemf(m.line(key...), "unknown key %q%s", name, didYouMean(suggest(key[len(key)-1], known))))
	}
	return problems
}

// knownKeys are those that may stand where key stands; nil is any.
func knownKeys(key toml.Key) []string {
	switch {
	case len(key) == 1:
		return []string{"package", "sources"}
	case key[0] == "package" && len(key) == 2:
		return packageKeys
	case key[0] == "sources" && len(key) == 2:
		return nil
	case key[0] == "sources" && len(key) == 3:
		return sourceKeys
	}
	return []string{}
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
			return tomlProblem(meta.PrimitiveDecode(value, new(marker))).line
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
