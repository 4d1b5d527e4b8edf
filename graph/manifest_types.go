package graph

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// checkTypes says where values, all that package.toml holds, differs in type
// from a manifest. Unknown keys are not its business.
func (m *manifest) checkTypes(values map[string]any) []problem {
	problems := m.checkTable(packageKeys, values["package"], "package")
	sources, ok := values["sources"].(map[string]any)
	if !ok {
		return append(problems, m.wrongType(values["sources"], "a table", "sources")...)
	}
	for _, key := range slices.Sorted(maps.Keys(sources)) {
		problems = append(problems, m.checkTable(sourceKeys, sources[key], "sources", key)...)
	}
	return problems
}

// listKeys hold lists of strings, all others strings.
var listKeys = []string{"subpackages", "platforms", "mirrors"}

func (m *manifest) checkTable(known []string, value any, path ...string) []problem {
	table, ok := value.(map[string]any)
	if !ok {
		return m.wrongType(value, "a table", path...)
	}
	var problems []problem
	for _, key := range slices.Sorted(maps.Keys(table)) {
		at := append(slices.Clone(path), key)
		switch {
		case !slices.Contains(known, key):
		case slices.Contains(listKeys, key):
			problems = append(problems, m.checkList(table[key], at...)...)
		default:
			if _, ok := table[key].(string); !ok {
				problems = append(problems, m.wrongType(table[key], "a string", at...)...)
			}
		}
	}
	return problems
}

func (m *manifest) checkList(value any, path ...string) []problem {
	list, ok := value.([]any)
	if !ok {
		return m.wrongType(value, "a list of strings", path...)
	}
	for _, element := range list {
		if _, ok := element.(string); !ok {
			return m.wrongType(element, "a list of strings", path...)
		}
	}
	return nil
}

// wrongType is no problem for a value that is not there.
func (m *manifest) wrongType(value any, want string, path ...string) []problem {
	if value == nil {
		return nil
	}
	name := path[len(path)-1]
	return []problem{problemf(m.line(path...), "%s: want %s, got %s", name, want, typeName(value))}
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
