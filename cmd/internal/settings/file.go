package settings

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/BurntSushi/toml"
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
	var top map[string]toml.Primitive
	md, err := toml.Decode(string(data), &top)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	entries := collect(&md, nil, top)
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.name, b.name))
	})
	return entries, nil
}

func collect(md *toml.MetaData, under toml.Key, values map[string]toml.Primitive) []entry {
	var entries []entry
	for part, primitive := range values {
		path := append(slices.Clone(under), part)
		e := entry{name: path.String(), depth: len(path), line: lineOf(md, primitive)}
		if err := md.PrimitiveDecode(primitive, &e.value); err != nil {
			e.value = err // of no type that a setting has, so textOf refuses it
		}
		if _, e.table = e.value.(map[string]any); e.table {
			var table map[string]toml.Primitive
			_ = md.PrimitiveDecode(primitive, &table) // a table always fits
			inside := collect(md, path, table)
			e.line = firstLine(e.line, inside)
			entries = append(entries, inside...)
		}
		entries = append(entries, e)
	}
	return entries
}

// firstLine gives a table that has no line of its own ([a] of "[a.b]") that of the first thing in it.
func firstLine(line int, inside []entry) int {
	for _, e := range inside {
		if line == 0 || e.line < line {
			line = e.line
		}
	}
	return line
}

// locator makes the toml package tell where a value stands: it does so only in errors.
type locator struct{}

var errLocate = errors.New("locating")

func (*locator) UnmarshalTOML(any) error { return errLocate }

func lineOf(md *toml.MetaData, p toml.Primitive) int {
	var at toml.ParseError
	if errors.As(md.PrimitiveDecode(p, &locator{}), &at) {
		return at.Position.Line
	}
	return 0
}

func syntaxError(name string, err error) error {
	var at toml.ParseError
	if errors.As(err, &at) {
		return &Error{Where: where(name, at.Position.Line), Err: errors.New(at.Message)}
	}
	return &Error{Where: name, Err: err}
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
