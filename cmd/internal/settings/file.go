package settings

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// entry is a key as it stands in a file.
type entry struct {
	name  string // "build.jobs"; a part that is no bare key is quoted
	depth int    // parts of the name
	line  int    // 0 where the parser does not know it
	table bool
	value any
}

// parseFile returns all that a file says, in its order.
func parseFile(name string, data []byte) ([]entry, error) {
	f, err := tomlscan.Parse(data)
	var refused *tomlscan.Error
	if errors.As(err, &refused) {
		return nil, &Error{Where: where(name, refused.Line), Err: refused.Err}
	}
	var entries []entry
	for _, k := range f.Keys {
		path := k.Path()
		table, ok := valueAt(f.Values, path[:len(path)-1]).(map[string]any)
		if !ok {
			continue // below a list of tables, which is refused itself
		}
		e := entry{name: path.String(), depth: len(path), line: k.Line, value: table[k.Name]}
		_, e.table = e.value.(map[string]any)
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.name, b.name))
	})
	return entries, nil
}

// valueAt is nil below what is no table.
func valueAt(values map[string]any, path []string) any {
	value := any(values)
	for _, name := range path {
		table, _ := value.(map[string]any)
		value = table[name]
	}
	return value
}

// textOf returns a value as a variable or a flag would give it.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("want a text, a whole number, or true or false")
}

func where(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
