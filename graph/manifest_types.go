package graph

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// reader takes the values of known keys out of what package.toml holds, and says
// where one is of another type. Unknown keys are not its business.
type reader struct {
	file     *tomlscan.File
	problems []problem
}

// table sets what the pointers in known point to.
func (r *reader) table(value any, path []string, known map[string]any) {
	table, ok := value.(map[string]any)
	if !ok {
		r.wrongType(value, "a table", path)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		r.value(table[key], append(slices.Clone(path), key), known[key])
	}
}

// value is nil for a key that is not there.
func (r *reader) value(value any, path []string, to any) {
	switch to := to.(type) {
	case *[]string:
		*to = r.list(value, path)
	case **string:
		if text, ok := r.text(value, path); ok {
			*to = &text
		}
	case *string:
		*to, _ = r.text(value, path)
	}
}

func (r *reader) text(value any, path []string) (string, bool) {
	text, ok := value.(string)
	if !ok {
		r.wrongType(value, "a string", path)
	}
	return text, ok
}

func (r *reader) list(value any, path []string) []string {
	list, ok := value.([]any)
	if !ok {
		r.wrongType(value, "a list of strings", path)
		return nil
	}
	texts := make([]string, len(list))
	for i, element := range list {
		if texts[i], ok = element.(string); !ok {
			r.wrongType(element, "a list of strings", path)
			return nil
		}
	}
	return texts
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
		r.table(table[key], []string{"sources", key}, map[string]any{
			"hash": &s.Hash, "version": &s.Version, "file": &s.File, "format": &s.Format, "git_sha": &s.GitSHA, "mirrors": &s.Mirrors,
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
