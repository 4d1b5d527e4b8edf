package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/BurntSushi/toml"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// manifest is package.toml as written, nothing expanded. A pointer distinguishes an empty
// key from a missing one.
//
// Source: upstream's package.toml(5) and src/common.py.
type manifest struct {
	Package manifestPackage
	Sources map[string]manifestSource

	data    []byte         // nil if the definition was recalled
	file    *tomlscan.File // what was read of data; nil when only lines may be needed
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
	near string // a suggestion, "" if no known key is near
}

var (
	topKeys     = []string{"package", "sources"}
	packageKeys = []string{"name", "version", "version_from", "description", "license", "website", "subpackages", "platforms"}
	sourceKeys  = []string{"hash", "version", "file", "format", "git_sha", "mirrors"}
)

// The keys that are known in each table on the way to a value; nil: any.
var (
	packageLevels = [][]string{topKeys, packageKeys}
	sourceLevels  = [][]string{topKeys, nil, sourceKeys}
)

// problem is an error with its line in the file that is being read, 0 for the whole file.
type problem struct {
	line int
	err  error
}

func problemf(line int, format string, args ...any) problem {
	return problem{line, fmt.Errorf(format, args...)}
}

// parseManifest checks syntax and types. A nil manifest comes with the problems that
// stopped it. Keys are compared as they are written: one in another case is another key.
func parseManifest(data []byte) (*manifest, []problem) {
	f, err := tomlscan.Parse(data)
	var refused *tomlscan.Error
	if errors.As(err, &refused) {
		return nil, []problem{{refused.Line, err}}
	}
	m := &manifest{data: data, file: f}
	m.findUnknown()
	p := reader{file: f}
	p.table(f.Values["package"], []string{"package"}, []known{
		{"description", &m.Package.Description}, {"license", &m.Package.License}, {"name", &m.Package.Name},
		{"platforms", &m.Package.Platforms}, {"subpackages", &m.Package.Subpackages},
		{"version", &m.Package.Version}, {"version_from", &m.Package.VersionFrom}, {"website", &m.Package.Website},
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
	levels := packageLevels
	if key[0] == "sources" {
		levels = sourceLevels
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

// line returns 0 for a missing key.
func (m *manifest) line(key ...string) int {
	if m.data == nil {
		return 0
	}
	if m.file == nil {
		m.file, _ = tomlscan.Parse(m.data) // without an error, as it was read before
	}
	return m.file.Line(key...)
}

// keys are the keys of [sources], sorted.
func (m *manifest) keys() []string { return slices.Sorted(maps.Keys(m.Sources)) }

// reader takes the values of known keys out of what package.toml holds, and says
// where one is of another type. Unknown keys are not its business.
type reader struct {
	file     *tomlscan.File
	problems []problem
}

// known is a key, and a pointer to the variable for its value.
type known struct {
	key string
	to  any
}

// table sets the variables of the keys that are in the table at path.
func (r *reader) table(value any, path []string, keys []known) {
	table, ok := value.(map[string]any)
	if !ok {
		r.wrongType(value, "a table", path)
		return
	}
	for _, k := range keys {
		if value, ok := table[k.key]; ok && !set(k.to, value) {
			r.wrongValue(value, k.to, append(slices.Clone(path), k.key))
		}
	}
}

// set reports false for a value of another type.
func set(to, value any) (ok bool) {
	switch to := to.(type) {
	case *[]string:
		*to, ok = texts(value)
	case **string:
		var text string
		if text, ok = value.(string); ok {
			*to = &text
		}
	case *string:
		*to, ok = value.(string)
	}
	return ok
}

func texts(value any) (texts []string, ok bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	texts = make([]string, len(list))
	for i, element := range list {
		if texts[i], ok = element.(string); !ok {
			return nil, false
		}
	}
	return texts, true
}

// wrongValue says which type is wanted: of a list that is one, with the first element that
// is no text.
func (r *reader) wrongValue(value, to any, path []string) {
	if _, list := to.(*[]string); !list {
		r.wrongType(value, "a string", path)
		return
	}
	list, _ := value.([]any)
	if i := slices.IndexFunc(list, func(element any) bool { _, ok := element.(string); return !ok }); i >= 0 {
		value = list[i]
	}
	r.wrongType(value, "a list of strings", path)
}

func (r *reader) sources(value any) map[string]manifestSource {
	table, ok := value.(map[string]any)
	if !ok {
		r.wrongType(value, "a table", []string{"sources"})
		return nil
	}
	sources := make(map[string]manifestSource, len(table))
	for _, key := range slices.Sorted(maps.Keys(table)) {
		var s manifestSource
		r.table(table[key], []string{"sources", key}, []known{
			{"file", &s.File}, {"format", &s.Format}, {"git_sha", &s.GitSHA}, {"hash", &s.Hash}, {"mirrors", &s.Mirrors}, {"version", &s.Version},
		})
		sources[key] = s
	}
	return sources
}

// wrongType is no problem for a value that is not there.
func (r *reader) wrongType(value any, want string, path []string) {
	if value == nil {
		return
	}
	r.problems = append(r.problems, problemf(r.file.Line(path...), "%s: want %s, got %s", path[len(path)-1], want, typeName(value)))
}

func typeName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	}
	return fmt.Sprintf("a %T", value)
}
