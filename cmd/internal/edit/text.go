package edit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// Text is TOML that is changed value by value.
type Text struct {
	data    []byte
	file    *tomlscan.File
	changes []change
}

// change replaces a part of the text.
type change struct {
	Change
	path []string
	at   tomlscan.Span
	text string
}

// Change is a value that an edit sets.
type Change struct {
	Path string // of the file
	Line int    // where the key was, or its table
	Key  string // "sources.zlib.hash"
	Was  string // "" if it was not there
	Now  string
}

// ParseText reads TOML.
func ParseText(data []byte) (*Text, error) {
	f, err := tomlscan.Parse(data)
	return &Text{data: data, file: f}, err
}

// value returns the value of a key before all changes, nil if there is none.
func (t *Text) value(path ...string) any {
	value := any(t.file.Values)
	for _, name := range path {
		table, _ := value.(map[string]any)
		value = table[name]
	}
	return value
}

// String returns the value of a key, if that is a string.
func (t *Text) String(path ...string) (string, bool) {
	text, ok := t.value(path...).(string)
	return text, ok
}

// Table returns the keys of a table, in the order of the text.
func (t *Text) Table(path ...string) (names []string) {
	for _, k := range t.file.Keys {
		if p := []string(k.Path()); len(p) == len(path)+1 && slices.Equal(p[:len(path)], path) {
			names = append(names, k.Name)
		}
	}
	return names
}

// Line returns the line of a key, 0 if there is no such key.
func (t *Text) Line(path ...string) int { return t.file.Line(path...) }

// Set changes the string of a key and keeps its quotes. A key that is missing is added
// as the first of its table. The value must need no escapes.
func (t *Text) Set(value string, path ...string) error {
	name := strings.Join(path, ".")
	if strings.ContainsAny(value, "\"'\\") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("%s: the value %q holds quotes, a backslash or control characters", name, value)
	}
	t.changes = slices.DeleteFunc(t.changes, func(c change) bool { return c.Key == name })
	key := t.file.Key(path...)
	if key == nil {
		return t.add(value, path)
	}
	was, ok := t.String(path...)
	if !ok || key.Value.End == 0 {
		return fmt.Errorf("%s (line %d) is not a string", name, key.Line)
	}
	if was == value {
		return nil
	}
	quote := t.quote(key.Value)
	t.changes = append(t.changes, change{Change{Line: key.Line, Key: name, Was: was, Now: value}, path, key.Value, quote + value + quote})
	return nil
}

// quote returns the quotes of a string: one or three, double or single.
func (t *Text) quote(at tomlscan.Span) string {
	text := t.data[at.Start:at.End]
	if three := strings.Repeat(string(text[:1]), 3); len(text) >= 6 && bytes.HasPrefix(text, []byte(three)) {
		return three
	}
	return string(text[:1])
}

// add adds a key below the header of its table.
func (t *Text) add(value string, path []string) error {
	last := len(path) - 1
	table := t.file.Key(path[:last]...)
	if table == nil || table.Header.End == 0 {
		return fmt.Errorf("%s is missing, and its table has no header to add it to: write it as \"\" first", strings.Join(path, "."))
	}
	eol := t.eol()
	at, line := t.after(table.Header.End), fmt.Sprintf("%s = %q%s", path[last], value, eol)
	if at == len(t.data) && !bytes.HasSuffix(t.data, []byte("\n")) {
		line = eol + strings.TrimSuffix(line, eol)
	}
	t.changes = append(t.changes, change{Change{Line: table.Line, Key: strings.Join(path, "."), Now: value}, path, tomlscan.Span{Start: at, End: at}, line})
	return nil
}

// remove removes the lines of a key, if it is there.
func (t *Text) remove(path ...string) {
	key := t.file.Key(path...)
	if key == nil || key.Value.End == 0 {
		return
	}
	start := bytes.LastIndexByte(t.data[:key.Value.Start], '\n') + 1
	at := tomlscan.Span{Start: start, End: t.after(key.Value.End)}
	t.changes = append(t.changes, change{Change{Line: key.Line, Key: strings.Join(path, ".")}, path, at, ""})
}

// after returns where the line after an offset begins, or the end of the text.
func (t *Text) after(at int) int {
	if i := bytes.IndexByte(t.data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(t.data)
}

// eol returns the line end of the text.
func (t *Text) eol() string {
	if i := bytes.IndexByte(t.data, '\n'); i > 0 && t.data[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// Bytes returns the text with its changes. It parses the result, and fails if any other
// value differs from the original.
func (t *Text) Bytes() ([]byte, error) {
	changes := slices.Clone(t.changes)
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.at.Start, b.at.Start) })
	var out []byte
	at := 0
	for _, c := range changes {
		if c.at.Start < at {
			return nil, fmt.Errorf("changing %s: it overlaps another change", c.Key)
		}
		out = append(append(out, t.data[at:c.at.Start]...), c.text...)
		at = c.at.End
	}
	out = append(out, t.data[at:]...)
	return out, t.verify(out, changes)
}

// verify reads the changed text again.
func (t *Text) verify(out []byte, changes []change) error {
	got, err := ParseText(out)
	if err != nil {
		return fmt.Errorf("the changed text is not TOML: %w", err)
	}
	want, err := ParseText(t.data)
	if err != nil {
		return err
	}
	for _, c := range changes {
		last := len(c.path) - 1
		table, ok := want.value(c.path[:last]...).(map[string]any)
		if !ok {
			return fmt.Errorf("changing %s: it is not in a table", c.Key)
		}
		if name := c.path[last]; c.text == "" {
			delete(table, name)
		} else {
			table[name] = c.Now
		}
	}
	if !reflect.DeepEqual(want.file.Values, got.file.Values) {
		return errors.New("the changed text differs in other values, too")
	}
	return nil
}
