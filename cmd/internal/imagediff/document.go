package imagediff

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// compareTrees calls each with the path of every value in which two JSON documents differ, and both values as JSON; "" is
// a value that is not there. It does not descend into a path that skip accepts.
func compareTrees(path string, a, b any, skip func(path string) bool, each func(path, a, b string)) {
	if skip(path) {
		return
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			compareMembers(path, x, y, skip, each)
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			compareItems(path, x, y, skip, each)
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		each(path, jsonText(a), jsonText(b))
	}
}

// missing stands for a member that one document has not; null is a value.
type missing struct{}

func compareMembers(path string, a, b map[string]any, skip func(string) bool, each func(path, a, b string)) {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		compareTrees(member(path, name), valueOf(a, name), valueOf(b, name), skip, each)
	}
}

// member is how jq writes a path: ".config.Env".
func member(path, name string) string {
	plain := name != "" && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}) < 0
	if plain {
		return path + "." + name
	}
	return fmt.Sprintf("%s[%q]", path, name)
}

func valueOf(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	return missing{}
}

func compareItems(path string, a, b []any, skip func(string) bool, each func(path, a, b string)) {
	for i := range max(len(a), len(b)) {
		var x, y any = missing{}, missing{}
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		compareTrees(fmt.Sprintf("%s[%d]", path, i), x, y, skip, each)
	}
}

func jsonText(v any) string {
	if _, ok := v.(missing); ok {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // it was JSON
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}
